//! The example that the README gives: it needs no key, and says what it is said to say.

use crate::stage::Stage;
use moonlog_tests::moonlog;
use std::{fs, path::Path, process::Command};

#[test]
fn the_readme_s_review_runs_as_it_stands_there() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")).unwrap();
    let example = readme.split("```sh\n").find(|block| block.starts_with("mkdir half")).unwrap();
    let example = example.split("```").next().unwrap();
    let stage = Stage::bare();
    let path = std::env::join_paths(
        std::iter::once(moonlog().parent().unwrap().to_owned())
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    let output = Command::new("sh")
        .args(["-e", "-c", example])
        .current_dir(stage.path())
        .env("PATH", path.unwrap())
        .env("HOME", stage.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("1 finding: 1 high.") && said.contains("`half.py:2`"), "{said}");
}
