//! The binary under test.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// The path of `moonlog`, built by the first caller where it is not up to date.
pub fn moonlog() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let status = Command::new(cargo)
            .args(["build", "--quiet", "--workspace", "--bin", "moonlog"])
            .current_dir(workspace)
            .status()
            .expect("cargo runs");
        assert!(status.success(), "moonlog does not build");
        // Tests are in <target>/debug/deps.
        let test = std::env::current_exe().expect("a test has a path");
        let folder = test.ancestors().nth(2).expect("the target folder");
        folder.join("moonlog")
    })
}
