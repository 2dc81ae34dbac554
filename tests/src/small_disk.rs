//! Small disks, to be filled.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

/// A small disk of its own, in memory. Unmounted when this is dropped.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// A disk of so many MiB at this path; `None`, said loudly, where none can be mounted.
    ///
    /// # Panics
    /// Where the folder cannot be made.
    pub fn mount(at: &Path, mebibytes: u32) -> Option<Self> {
        fs::create_dir_all(at).expect("a folder");
        let mut mount = Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "none"]).arg(at).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(at.to_owned()));
        }
        eprintln!(
            "\n!!! SKIPPED: no disk can be mounted here; the tests with a file's limit and with a failing call remain !!!\n"
        );
        None
    }

    /// Gives it another size.
    ///
    /// # Panics
    /// Where that is refused.
    pub fn resize(&self, mebibytes: u32) {
        let size = format!("remount,size={mebibytes}m");
        assert!(Command::new("mount").args(["-o", &size]).arg(&self.0).status().expect("mount runs").success());
    }

    /// Fills it to the last byte with a file of others, until that is dropped.
    ///
    /// # Panics
    /// Where that cannot be made at all.
    pub fn fill(&self) -> Filler {
        let path = self.0.join("others");
        let mut file = File::create(&path).expect("a file");
        for piece in [vec![1; 1 << 20], vec![1; 4096], vec![1; 1]] {
            while file.write_all(&piece).is_ok() {}
        }
        Filler(path)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// A file that takes all that is left.
pub struct Filler(PathBuf);

impl Drop for Filler {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
