//! Faults of the machine under a real server: calls on its files fail, and its clock is moved, while it runs. A small library that is
//! preloaded does it (`shim.c`), built once by the C compiler that the project needs anyway.

use crate::server::Settings;
use std::{
    fs::{File, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::Duration,
};

/// Writing fails.
pub const WRITE: i64 = 1;
/// Syncing fails.
pub const SYNC: i64 = 2;
/// Making files larger or shorter ahead of writing fails.
pub const ALLOCATE: i64 = 4;
/// Renaming fails.
pub const RENAME: i64 = 16;

/// Reading fails.
pub const READ: i64 = 32;

/// What the system says of a broken disk.
pub const EIO: i64 = 5;
/// What it says of a full one.
pub const ENOSPC: i64 = 28;

/// Where the fields of the control file are: see `struct control` in `shim.c`.
const FIELDS: [u64; 5] = [0, 8, 16, 24, 32];
const NEEDLE: u64 = 40;
const NEEDLE_BYTES: usize = 216;

/// Faults that can be chosen for the servers that are started with [`Self::settings`].
pub struct Faults {
    library: PathBuf,
    path: PathBuf,
    control: File,
}

impl Faults {
    /// Control over servers on `folder`; `None`, said loudly, where there is no C compiler.
    ///
    /// # Panics
    /// Where there is one, and the library cannot be built, or the folder not be written to.
    pub fn new(folder: &Path) -> Option<Self> {
        let library = library()?;
        let path = folder.join("faults");
        let control = OpenOptions::new().create(true).truncate(true).read(true).write(true).open(&path);
        let control = control.expect("a file for the faults");
        control.set_len(NEEDLE + NEEDLE_BYTES as u64).expect("its length");
        Some(Self { library, path, control })
    }

    /// `settings`, for a server that is under this control.
    pub fn settings(&self, mut settings: Settings) -> Settings {
        let value = |path: &Path| path.to_string_lossy().into_owned();
        settings.env.push(("LD_PRELOAD".into(), value(&self.library)));
        settings.env.push(("FAULTS_CONTROL".into(), value(&self.path)));
        settings
    }

    /// From now on these operations fail with this error on files whose path has `needle` in it, after `spare` more that go well.
    pub fn fail(&self, operations: i64, error: i64, needle: &str, spare: i64) {
        self.mend();
        let mut bytes = [0; NEEDLE_BYTES];
        bytes[..needle.len()].copy_from_slice(needle.as_bytes());
        self.control.write_all_at(&bytes, NEEDLE).expect("the control file");
        for (field, value) in [(1, error), (2, spare), (3, 0), (0, operations)] {
            self.set(field, value);
        }
    }

    /// All goes well again. How often something has failed.
    pub fn mend(&self) -> i64 {
        self.set(0, 0);
        self.failed()
    }

    /// How often something has failed since the last [`Self::fail`].
    ///
    /// # Panics
    /// Where the control file is gone.
    pub fn failed(&self) -> i64 {
        let mut bytes = [0; 8];
        self.control.read_exact_at(&mut bytes, FIELDS[3]).expect("the control file");
        i64::from_le_bytes(bytes)
    }

    /// Moves the time of day to so much before or behind the true one.
    pub fn move_clock(&self, by: Duration, back: bool) {
        let nanos = i64::try_from(by.as_nanos()).expect("less than 292 years");
        self.set(4, if back { -nanos } else { nanos });
    }

    fn set(&self, field: usize, value: i64) {
        self.control.write_all_at(&value.to_le_bytes(), FIELDS[field]).expect("the control file");
    }
}

/// The library, built by the first caller.
fn library() -> Option<PathBuf> {
    static LIBRARY: OnceLock<Option<PathBuf>> = OnceLock::new();
    let built = LIBRARY.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/shim.c");
        let test = std::env::current_exe().expect("a test has a path");
        let folder = test.parent().expect("its folder");
        // Other tests may do the same at this moment.
        let (library, beside) =
            (folder.join("libmoonlog_faults.so"), folder.join(format!("libmoonlog_faults.{}", std::process::id())));
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&beside).arg(source).arg("-ldl");
        let Ok(output) = compiler.output() else { return None };
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        std::fs::rename(beside, &library).expect("the library is put in its place");
        Some(library)
    });
    if built.is_none() {
        eprintln!("\n!!! SKIPPED: there is no `cc` here to build what makes a disk fail !!!\n");
    }
    built.clone()
}
