//! Where a path leads, and that it stays inside.
//!
//! A path is followed link by link to where it really leads, whether or not something is there; what leads out of the
//! roots is refused. Files are then opened from their root downwards, folder by folder and through no link, so that a
//! link which is put in the way between the look and the act leads nowhere either.

use moonlog_core::error_info::ErrorInfo;
use nix::{
    errno::Errno,
    fcntl::{OFlag, open, openat},
    sys::stat::{Mode, mkdirat},
};
use std::{
    collections::VecDeque,
    ffi::{OsStr, OsString},
    fs::{self, File},
    io,
    os::fd::OwnedFd,
    path::{Component, Path, PathBuf},
};

/// How many links a path may lead through, as Linux has it.
const LINKS_MAX: usize = 40;

/// Whether the last segment of a path, where it is a link, is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Last {
    /// It is: what is meant is what it leads to.
    Follow,
    /// It is not: what is meant is the link.
    Keep,
}

/// A place below a root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// A root, through no link.
    root: PathBuf,
    /// From there, through no link. Empty for the root itself.
    inside: PathBuf,
    /// Whether callers know the root by its own path, and not as where relative paths begin.
    named: bool,
}

/// Follows `given` from the roots: a relative path from the first, an absolute one wherever it leads below one of them.
pub(super) fn find(roots: &[PathBuf], given: &str, last: Last) -> Result<Place, ErrorInfo> {
    if given.contains('\0') {
        return Err(ErrorInfo::new("invalid_path", "a path holds no zero byte"));
    }
    let roots: Vec<PathBuf> = roots.iter().filter_map(|root| fs::canonicalize(root).ok()).collect();
    let Some(first) = roots.first() else {
        return Err(ErrorInfo::new("no_workspace", "the folder that this tool may work in is not there any more"));
    };
    let outside = || {
        let shown: Vec<String> = roots.iter().map(|root| root.display().to_string()).collect();
        let message = format!(
            "`{given}` is outside of the workspace: paths are relative to {}, and neither `..` nor links may lead out of it",
            shown.join(" or below ")
        );
        ErrorInfo::new("outside_workspace", message)
    };
    let path = Path::new(given);
    if path.is_relative() && climbs_out(path) {
        return Err(outside());
    }
    let real = follow(&first.join(path), last).map_err(|error| match error.raw_os_error() {
        Some(libc::ELOOP) => ErrorInfo::new("invalid_path", format!("`{given}` leads through too many links")),
        _ => ErrorInfo::new("unreadable", format!("`{given}` cannot be looked up: {error}")),
    })?;
    let found = roots.iter().enumerate().find_map(|(at, root)| {
        let inside = real.strip_prefix(root).ok()?.to_owned();
        Some(Place { root: root.clone(), inside, named: at > 0 })
    });
    found.ok_or_else(outside)
}

/// Whether a relative path goes above where it begins, whatever links it leads through.
fn climbs_out(path: &Path) -> bool {
    let mut depth = 0_i32;
    path.components().any(|segment| {
        match segment {
            Component::ParentDir => depth -= 1,
            Component::Normal(_) => depth += 1,
            _ => {}
        }
        depth < 0
    })
}

/// Where an absolute path leads, link by link. Behind the first segment that is not there, segments stand as they are.
fn follow(path: &Path, last: Last) -> io::Result<PathBuf> {
    let mut ahead: VecDeque<OsString> = segments(path);
    let mut real = PathBuf::from("/");
    let mut links = 0;
    while let Some(segment) = ahead.pop_front() {
        if segment == ".." {
            real.pop();
            continue;
        }
        real.push(&segment);
        if last == Last::Keep && ahead.is_empty() {
            break;
        }
        let target = match fs::read_link(&real) {
            Ok(target) => target,
            // No link, or nothing.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOENT | libc::ENOTDIR)) => continue,
            Err(error) => return Err(error),
        };
        links += 1;
        if links > LINKS_MAX {
            return Err(io::Error::from_raw_os_error(libc::ELOOP));
        }
        real.pop();
        if target.is_absolute() {
            real = PathBuf::from("/");
        }
        let mut target = segments(&target);
        target.append(&mut ahead);
        ahead = target;
    }
    Ok(real)
}

fn segments(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|segment| match segment {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            _ => None,
        })
        .collect()
}

impl Place {
    /// Its path as callers write it: from the root, or in full where the root is not the first.
    pub fn shown(&self) -> String {
        match (self.named, self.inside.as_os_str().is_empty()) {
            (true, _) => self.absolute().to_string_lossy().into_owned(),
            (false, true) => ".".into(),
            (false, false) => self.inside.to_string_lossy().into_owned(),
        }
    }

    /// Its path in full, through no link.
    pub fn absolute(&self) -> PathBuf {
        self.root.join(&self.inside)
    }

    /// The root that it is below.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Its root.
    pub fn of_root(&self) -> Self {
        Self { inside: PathBuf::new(), ..self.clone() }
    }

    /// What is at `path` from here; it leads through no link, and not up.
    pub fn below(&self, path: &Path) -> Self {
        Self { inside: self.inside.join(path), ..self.clone() }
    }

    /// Its name in its folder. The root has none.
    pub fn name(&self) -> Option<&OsStr> {
        self.inside.file_name()
    }

    /// Opens its folder, from the root and through no link; `create` makes the folders that are not there.
    pub fn folder(&self, create: bool) -> io::Result<OwnedFd> {
        const FOLDER: OFlag = OFlag::O_DIRECTORY.union(OFlag::O_CLOEXEC).union(OFlag::O_NOFOLLOW);
        let mut folder = open(&self.root, FOLDER, Mode::empty())?;
        for name in self.inside.parent().into_iter().flat_map(Path::iter) {
            folder = match openat(&folder, name, FOLDER, Mode::empty()) {
                Err(Errno::ENOENT) if create => {
                    match mkdirat(&folder, name, Mode::from_bits_truncate(0o777)) {
                        Ok(()) => File::from(folder.try_clone()?).sync_all()?,
                        // Somebody else made it.
                        Err(Errno::EEXIST) => {}
                        Err(error) => return Err(error.into()),
                    }
                    openat(&folder, name, FOLDER, Mode::empty())?
                }
                opened => opened?,
            };
        }
        Ok(folder)
    }

    /// Opens it for reading, from the root and through no link. A pipe does not block.
    pub fn open(&self) -> io::Result<File> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let opened = match self.name() {
            Some(name) => openat(self.folder(false)?, name, flags, Mode::empty())?,
            None => open(&self.root, flags, Mode::empty())?,
        };
        Ok(opened.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn paths_lead_where_the_system_says_and_never_out() {
        let world = tempfile::tempdir().unwrap();
        let (root, outside) = (world.path().join("root"), world.path().join("outside"));
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::create_dir_all(&outside).unwrap();
        fs::write(root.join("a/file"), "x").unwrap();
        fs::write(outside.join("secret"), "x").unwrap();
        for (link, target) in [
            ("inner", "a/b"),
            ("absolute", root.join("a").to_str().unwrap()),
            ("out", outside.to_str().unwrap()),
            ("up", "../outside"),
            ("dangling_in", "a/new"),
            ("dangling_out", "../outside/new"),
            ("to_secret", "../outside/secret"),
            ("chain", "out"),
            ("loop", "loop"),
            ("back", "../root/a"),
            ("etc", "/etc/passwd"),
        ] {
            symlink(target, root.join(link)).unwrap();
        }
        let in_root = root.join("a/file");
        for (given, last, leads) in [
            ("a/file", Last::Follow, Ok("a/file")),
            ("./a//file", Last::Follow, Ok("a/file")),
            ("a/b/../file", Last::Follow, Ok("a/file")),
            (".", Last::Follow, Ok(".")),
            ("", Last::Follow, Ok(".")),
            ("a/new/deep", Last::Follow, Ok("a/new/deep")),
            ("inner/new", Last::Follow, Ok("a/b/new")),
            ("inner/../file", Last::Follow, Ok("a/file")),
            ("absolute/file", Last::Follow, Ok("a/file")),
            ("dangling_in", Last::Follow, Ok("a/new")),
            ("back/file", Last::Follow, Ok("a/file")),
            (in_root.to_str().unwrap(), Last::Follow, Ok("a/file")),
            ("to_secret", Last::Keep, Ok("to_secret")),
            ("..", Last::Follow, Err("outside_workspace")),
            ("../outside/secret", Last::Follow, Err("outside_workspace")),
            ("a/../../root/a/file", Last::Follow, Err("outside_workspace")),
            ("/etc/passwd", Last::Follow, Err("outside_workspace")),
            ("out/secret", Last::Follow, Err("outside_workspace")),
            ("out/new", Last::Follow, Err("outside_workspace")),
            ("out/secret", Last::Keep, Err("outside_workspace")),
            ("up/secret", Last::Follow, Err("outside_workspace")),
            ("chain/new", Last::Follow, Err("outside_workspace")),
            ("to_secret", Last::Follow, Err("outside_workspace")),
            ("dangling_out", Last::Follow, Err("outside_workspace")),
            ("etc", Last::Follow, Err("outside_workspace")),
            ("a/b/missing/../../../../outside/secret", Last::Follow, Err("outside_workspace")),
            ("loop/x", Last::Follow, Err("invalid_path")),
            ("a\0b", Last::Follow, Err("invalid_path")),
        ] {
            let found = find(std::slice::from_ref(&root), given, last);
            let found = found.map(|place| place.shown()).map_err(|error| error.code);
            assert_eq!(found.as_deref().map_err(String::as_str), leads, "{given}");
        }
    }

    #[test]
    fn a_link_that_is_put_in_the_way_leads_nowhere() {
        let world = tempfile::tempdir().unwrap();
        let (root, outside) = (world.path().join("root"), world.path().join("outside"));
        fs::create_dir_all(root.join("a")).unwrap();
        fs::create_dir_all(&outside).unwrap();
        fs::write(outside.join("file"), "secret").unwrap();
        let place = find(std::slice::from_ref(&root), "a/file", Last::Follow).unwrap();
        fs::remove_dir(root.join("a")).unwrap();
        symlink(&outside, root.join("a")).unwrap();
        assert!(place.open().is_err());
        assert!(place.folder(true).is_err());
        fs::remove_file(root.join("a")).unwrap();
        fs::create_dir(root.join("a")).unwrap();
        symlink(outside.join("file"), root.join("a/file")).unwrap();
        assert!(place.open().is_err());
    }

    #[test]
    fn of_several_roots_the_first_is_where_relative_paths_begin() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let roots = [one.path().to_path_buf(), two.path().to_path_buf()];
        assert_eq!(find(&roots, "x", Last::Follow).unwrap().shown(), "x");
        let there = fs::canonicalize(two.path()).unwrap().join("x");
        let there = there.to_str().unwrap();
        assert_eq!(find(&roots, there, Last::Follow).unwrap().shown(), there);
    }
}
