//! DBOS: its package for Rust on PostgreSQL, and the one for Python on SQLite. It is a library, so each is a small program that takes
//! jobs over HTTP.

use super::{
    children::Child,
    packages::Packages,
    postgres::Postgres,
    system::{Request, Running, System, free_address},
};
use crate::Outcome;
use std::{
    path::{Path, PathBuf},
    process::Command,
};

const PYTHON_PACKAGE: &str = "dbos==3.4.0";
const REQUEST: Request = Request::Plain("/work");

/// The package for Rust.
#[derive(Default)]
pub struct DbosPostgres {
    program: PathBuf,
    postgres: Option<Postgres>,
}

/// The package for Python.
#[derive(Default)]
pub struct DbosSqlite {
    python: PathBuf,
    program: PathBuf,
}

impl System for DbosPostgres {
    fn name(&self) -> &'static str {
        "DBOS, PostgreSQL"
    }

    fn prepare(&mut self, packages: &Packages) -> Outcome {
        self.postgres = Some(Postgres::find()?);
        self.program = packages.built("peer-dbos")?;
        Ok(())
    }

    fn set_up(&self, dir: &Path) -> Outcome {
        self.postgres()?.set_up(dir)
    }

    fn start(&self, dir: &Path) -> Outcome<Running> {
        let (server, url) = self.postgres()?.start(dir, "bench")?;
        let address = free_address()?;
        let mut command = Command::new(&self.program);
        command.arg(address.to_string()).env("DBOS_DATABASE_URL", url);
        let program = Child::start(command, dir.join("program.log"))?;
        Ok(Running { children: vec![program, server], address, request: REQUEST })
    }
}

impl DbosPostgres {
    fn postgres(&self) -> Outcome<&Postgres> {
        Ok(self.postgres.as_ref().ok_or("PostgreSQL was not found")?)
    }
}

impl System for DbosSqlite {
    fn name(&self) -> &'static str {
        "DBOS, SQLite"
    }

    fn prepare(&mut self, packages: &Packages) -> Outcome {
        self.python = packages.pypi(PYTHON_PACKAGE)?;
        self.program = packages.source("dbos_peer.py");
        Ok(())
    }

    fn start(&self, dir: &Path) -> Outcome<Running> {
        let address = free_address()?;
        let mut command = Command::new(&self.python);
        command.arg(&self.program).arg(address.port().to_string()).arg(dir.join("dbos.sqlite")).current_dir(dir);
        let program = Child::start(command, dir.join("program.log"))?;
        Ok(Running { children: vec![program], address, request: REQUEST })
    }
}
