//! moonlog itself, as it comes.

use super::{
    children::Child,
    packages::Packages,
    system::{Request, Running, System, free_address},
};
use crate::{Outcome, options::Options, server::binary};
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// Steps that give a number.
const PURE: &str = "for i = 1, args.n do step('s', function() return i end) end return args.n";
/// Steps that act on the world.
const ACTING: &str = "for i = 1, args.n do assert(http.get(args.url)) end return args.n";

/// The measured work.
pub fn script(acting: bool) -> &'static str {
    if acting { ACTING } else { PURE }
}

/// The server's binary.
pub struct Moonlog {
    binary: PathBuf,
}

impl Moonlog {
    /// The one that the options name, or that is beside this program.
    pub fn new(options: &Options) -> Outcome<Self> {
        Ok(Self { binary: binary(options)? })
    }
}

impl System for Moonlog {
    fn name(&self) -> &'static str {
        "moonlog"
    }

    fn prepare(&mut self, _: &Packages) -> Outcome {
        Ok(())
    }

    fn cold_starts(&self) -> usize {
        5
    }

    fn start(&self, dir: &Path) -> Outcome<Running> {
        let (address, toml) = (free_address()?, dir.join("moonlog.toml"));
        std::fs::write(&toml, "[http]\nallow_private = [\"127.0.0.1\"]\n")?;
        let mut command = Command::new(&self.binary);
        command.args(["serve", "--listen", &address.to_string(), "--data"]).arg(dir.join("data"));
        command.arg("--config").arg(&toml).current_dir(dir);
        let child = Child::start(command, dir.join("moonlog.log"))?;
        Ok(Running { children: vec![child], address, request: Request::Moonlog })
    }
}
