//! A PostgreSQL of its own: a scratch folder, a port of the loopback interface, and every commit synced.

use super::{
    children::Child,
    packages::succeed,
    system::{free_address, until},
};
use crate::Outcome;
use nix::{
    sys::signal::Signal,
    unistd::{User, chown, geteuid},
};
use std::{
    fs,
    net::SocketAddr,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
};

/// As it comes, but for what is said here; the first three are the defaults too.
const CONFIG: &str = "fsync = on\nsynchronous_commit = on\nfull_page_writes = on\nmax_connections = 100\n\
    unix_socket_directories = ''\nlisten_addresses = '127.0.0.1'\n";

/// Where PostgreSQL's programs are, and who runs them.
#[derive(Clone)]
pub struct Postgres {
    programs: PathBuf,
    /// It refuses to be run by root.
    user: Option<User>,
}

impl Postgres {
    /// The newest that is installed.
    pub fn find() -> Outcome<Self> {
        let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let debian = installed.filter_map(|version| {
            let number: u32 = version.file_name().to_str()?.parse().ok()?;
            Some((number, version.path().join("bin")))
        });
        let path = std::env::var_os("PATH").unwrap_or_default();
        let programs = debian.max().map(|(_, programs)| programs);
        let programs = programs.or_else(|| std::env::split_paths(&path).find(|dir| dir.join("initdb").exists()));
        let programs = programs.ok_or("there is no PostgreSQL: install Debian's `postgresql`")?;
        let user = match geteuid().is_root() {
            true => Some(User::from_name("postgres")?.ok_or("PostgreSQL needs a user `postgres` where root measures")?),
            false => None,
        };
        Ok(Self { programs, user })
    }

    /// Makes an empty cluster in `dir`.
    pub fn set_up(&self, dir: &Path) -> Outcome {
        let (data, password) = (dir.join("cluster"), dir.join("password"));
        fs::create_dir(&data)?;
        fs::write(&password, unguessable()?)?;
        self.give(dir)?;
        self.give(&data)?;
        self.give(&password)?;
        let mut initdb = self.program("initdb");
        initdb.args(["--username=postgres", "--auth=scram-sha-256", "--encoding=UTF8", "--no-locale", "--no-sync"]);
        initdb.arg("--pwfile").arg(&password).arg("--pgdata").arg(&data);
        succeed("initdb", initdb.current_dir(dir))?;
        let conf = data.join("postgresql.conf");
        Ok(fs::write(&conf, fs::read_to_string(&conf)? + CONFIG)?)
    }

    /// Starts a server on the cluster in `dir`: it, and the URL of a database that it may not have yet.
    pub fn start(&self, dir: &Path, database: &str) -> Outcome<(Child, String)> {
        let address: SocketAddr = free_address()?;
        let mut command = self.program("postgres");
        command.arg("-D").arg(dir.join("cluster")).args(["-p", &address.port().to_string()]).current_dir(dir);
        // An immediate shutdown: its children end with it, and its shared memory is given back.
        let mut server = Child::ended_by(Signal::SIGQUIT, command, dir.join("postgres.log"))?;
        until(&mut server, || {
            let port = address.port().to_string();
            succeed("pg_isready", self.program("pg_isready").args(["-h", "127.0.0.1", "-p", &port]))
        })?;
        let password = fs::read_to_string(dir.join("password"))?;
        Ok((server, format!("postgres://postgres:{password}@{address}/{database}")))
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        if let Some(user) = &self.user {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        command
    }

    fn give(&self, path: &Path) -> Outcome {
        match &self.user {
            Some(user) => Ok(chown(path, Some(user.uid), Some(user.gid))?),
            None => Ok(()),
        }
    }
}

/// What nobody else on this machine can guess.
fn unguessable() -> Outcome<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/uuid")?.trim().to_owned())
}
