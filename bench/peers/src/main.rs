//! Builds moonlog and its benchmarks, then measures moonlog beside its peers:
//!
//! ```text
//! cargo run --release --manifest-path bench/peers/Cargo.toml [-- --quick]
//! ```
//!
//! What measures is in `bench/src/peers`. It installs the peers below this folder's `target`, and says what it could not install.

use std::{
    error::Error,
    ffi::OsString,
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, ExitCode},
};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut build = Command::new(cargo);
    // The workspace as a whole: its parts are built with the same features, and so once.
    // As it is deployed, which is how the peers come.
    build.args(["build", "--profile", "dist", "--locked", "--workspace", "--features", "moonlog-bench/sqlite"]);
    if !build.arg("--target-dir").arg(root.join("target")).current_dir(&root).status()?.success() {
        return Err("moonlog does not build".into());
    }
    let bench = root.join("target/dist/moonlog-bench");
    // In this process's place, so that signals reach it.
    Err(Command::new(bench).arg("peers").args(std::env::args_os().skip(1)).exec().into())
}
