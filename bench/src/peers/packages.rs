//! Where peers come from: their packages are installed below `bench/peers/target`, and built by that folder's own workspace.

use crate::Outcome;
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The folder of the peers.
pub struct Packages {
    dir: PathBuf,
}

impl Packages {
    /// Of the sources that this program was built from.
    pub fn of_this_workspace() -> Self {
        Self { dir: Path::new(env!("CARGO_MANIFEST_DIR")).join("peers") }
    }

    /// A file of the sources.
    pub fn source(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Builds one of the peers' programs.
    pub fn built(&self, name: &str) -> Outcome<PathBuf> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        // All at once, so that what they share is built with the same features, and once.
        command.args(["build", "--release", "--locked", "--workspace", "--manifest-path"]);
        command.arg(self.dir.join("Cargo.toml")).arg("--target-dir").arg(self.target());
        succeed("cargo", &mut command)?;
        Ok(self.target().join("release").join(name))
    }

    /// Installs a package of npm, none of whose scripts are run: its folder of modules.
    pub fn npm(&self, package: &str) -> Outcome<PathBuf> {
        let dir = self.target().join("npm");
        let modules = dir.join("node_modules");
        installed(&dir, package, || {
            let flags = ["install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix"];
            succeed("npm", Command::new("npm").args(flags).arg(&dir).arg(package))
        })?;
        Ok(modules)
    }

    /// Installs a package of PyPI into an environment of its own: that one's interpreter.
    pub fn pypi(&self, package: &str) -> Outcome<PathBuf> {
        let dir = self.target().join("pypi");
        let python = dir.join("bin/python");
        installed(&dir, package, || {
            succeed("python3 with venv", Command::new("python3").args(["-m", "venv"]).arg(&dir))?;
            let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", package];
            succeed("pip", Command::new(&python).args(pip))
        })?;
        Ok(python)
    }

    fn target(&self) -> PathBuf {
        self.dir.join("target")
    }
}

/// Installs into `dir` unless it is there already.
fn installed(dir: &Path, package: &str, install: impl FnOnce() -> Outcome) -> Outcome {
    let note = dir.join("installed");
    if std::fs::read_to_string(&note).is_ok_and(|what| what == package) {
        return Ok(());
    }
    std::fs::create_dir_all(dir)?;
    install()?;
    Ok(std::fs::write(&note, package)?)
}

/// Runs a command to its end; `what` stands in the reason where that fails.
pub fn succeed(what: &str, command: &mut Command) -> Outcome {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("there is no {what}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said: Vec<&str> = said.trim().lines().collect();
    Err(format!("{what} failed: {}", said[said.len().saturating_sub(3)..].join(" | ")).into())
}
