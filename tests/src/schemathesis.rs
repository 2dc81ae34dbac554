//! PyPI's `schemathesis`, which makes requests up from `/openapi.json` and compares the answers with it.

use crate::readers::installed_python;
use std::{path::Path, process::Command};

/// What pip is asked for.
const PYPI: [&str; 1] = ["schemathesis==4.32.5"];

/// Runs it against the server at `url`, in `folder`, with these further arguments: whether it was content, and what it
/// said. `None`, said loudly, where it cannot be had here.
///
/// # Panics
/// Where it is there and cannot be run.
pub fn schemathesis(url: &str, folder: &Path, arguments: &[&str]) -> Option<(bool, String)> {
    let python = installed_python("schemathesis", &PYPI)?;
    let mut command = Command::new(python.with_file_name("schemathesis"));
    command.arg("run").arg(format!("{url}/openapi.json")).args(arguments).current_dir(folder);
    let output = command.env("NO_COLOR", "1").env("NO_PROXY", "*").output().expect("schemathesis runs");
    let said = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
}
