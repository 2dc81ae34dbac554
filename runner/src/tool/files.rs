//! What the tools on files share: where they may go, what they may do there, and that those on one file take turns.

use super::{
    Decision, ToolContext, ToolLimits, ToolOptions,
    near::nearest,
    place::{self, Last, Place},
    stored::{self, Unusable},
    walk::{Walk, Wanted},
};
use crate::threads::Threads;
use moonlog_core::{error_info::ErrorInfo, id::Hash};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// How many paths are looked at for one that may have been meant.
const MEANT_MAX: usize = 5_000;
/// How long.
const MEANT_FOR: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct Files {
    options: ToolOptions,
    threads: Threads,
    /// One for each way that a path's hash can begin.
    locks: Vec<Mutex<()>>,
}

impl Files {
    pub fn new(options: ToolOptions, threads: Threads) -> Self {
        Self { options, threads, locks: (0..=u8::MAX).map(|_| Mutex::default()).collect() }
    }

    /// Runs what blocks where it disturbs no task. It is brought to its end whatever becomes of who asked for it.
    pub async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, ErrorInfo> + Send + 'static,
    ) -> Result<T, ErrorInfo> {
        let files = self.clone();
        match self.threads.begin(move || work(&files)).await {
            Ok(result) => result,
            Err(error) if error.is_panic() => Err(ErrorInfo::new("internal", "a fault of moonlog's: a tool panicked")),
            Err(_) => Err(ErrorInfo::new("interrupted", "the server is stopping").retryable()),
        }
    }

    pub fn limits(&self) -> &ToolLimits {
        &self.options.limits
    }

    /// Where a call may go.
    pub fn roots(&self, context: &ToolContext) -> Vec<PathBuf> {
        context.root.as_ref().map_or_else(|| self.own_roots(), |root| vec![root.clone()])
    }

    /// Where a call may go that has no workspace.
    pub fn own_roots(&self) -> Vec<PathBuf> {
        if self.options.roots.is_empty() { vec![PathBuf::from(".")] } else { self.options.roots.clone() }
    }

    /// What is to be done about a call. Paths below the workspace are looked at as relative to it.
    pub fn decide(&self, context: &ToolContext, tool: &str, input: &Value) -> Decision {
        let mut input = input.clone();
        let roots = self.roots(context);
        let relative = |path: &mut Value| {
            let given = path.as_str().map(Path::new).filter(|path| path.is_absolute());
            let inside = given.and_then(|given| roots.iter().find_map(|root| given.strip_prefix(root).ok()));
            if let Some(inside) = inside.map(|inside| inside.to_string_lossy().into_owned()) {
                *path = inside.into();
            }
        };
        if let Some(path) = input.get_mut("path") {
            relative(path);
        }
        let edits = input.get_mut("edits").and_then(Value::as_array_mut).into_iter().flatten();
        edits.filter_map(|edit| edit.get_mut("path")).for_each(relative);
        self.options.policy.decide(tool, &input)
    }

    /// Where a path leads. What is refused there is refused, by whatever links it is reached.
    pub fn find(&self, roots: &[PathBuf], tool: &str, path: &str, last: Last) -> Result<Place, ErrorInfo> {
        let place = place::find(roots, path, last)?;
        match self.options.policy.decide(tool, &serde_json::json!({ "path": place.shown() })) {
            Decision::Deny(reason) => Err(ErrorInfo::new("denied", reason)),
            Decision::Allow | Decision::Ask => Ok(place),
        }
    }

    /// What a file holds, of at most `max_bytes`, for who shows it to a model: an image. On a thread that may block.
    pub fn content(&self, roots: &[PathBuf], path: &str, max_bytes: usize) -> Result<Vec<u8>, ErrorInfo> {
        let place = self.find(roots, "read_file", path, Last::Follow)?;
        match stored::read(&place, max_bytes) {
            Ok(Some(stored)) => Ok(stored.bytes),
            Ok(None) => Err(self.missing(&place)),
            Err(Unusable::TooLarge { bytes }) => Err(ErrorInfo::new(
                "too_large",
                format!("`{}` has {bytes} bytes, more than the limit of {max_bytes}", place.shown()),
            )),
            Err(why) => Err(self.unusable(&place, why)),
        }
    }

    /// Waits until nobody else changes these files. On a thread that may block.
    pub fn lock(&self, places: &[Place]) -> Vec<MutexGuard<'_, ()>> {
        // In one order for all, so that two that want the same files don't wait for each other.
        let which: BTreeSet<usize> = places
            .iter()
            .map(|place| usize::from(Hash::of(place.absolute().as_os_str().as_encoded_bytes()).as_bytes()[0]))
            .collect();
        which.into_iter().map(|at| self.locks[at].lock().unwrap_or_else(PoisonError::into_inner)).collect()
    }

    /// Why `place` cannot be read or written, for a model.
    pub fn unusable(&self, place: &Place, why: Unusable) -> ErrorInfo {
        let shown = place.shown();
        match why {
            Unusable::Folder => ErrorInfo::new(
                "is_a_folder",
                format!("`{shown}` is a folder: name a file in it; list_files shows what there is"),
            ),
            Unusable::Special => {
                ErrorInfo::new("not_a_file", format!("`{shown}` is a device, a pipe or a socket, and no file"))
            }
            Unusable::TooLarge { bytes } => {
                let max = self.limits().write_max_bytes;
                let message = format!(
                    "`{shown}` has {bytes} bytes, and files of more than {max} bytes are not changed (tools.write_max_bytes): \
                     change it with a command through execute"
                );
                ErrorInfo::new("too_large", message)
            }
            Unusable::Io(error) if error.kind() == io::ErrorKind::NotFound => self.missing(place),
            Unusable::Io(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                ErrorInfo::new("permission_denied", format!("`{shown}`: the server may not do this there"))
            }
            Unusable::Io(error) if error.kind() == io::ErrorKind::NotADirectory => ErrorInfo::new(
                "not_a_folder",
                format!("`{shown}` cannot be there: a part of its path is a file, and no folder"),
            ),
            Unusable::Io(error) if error.raw_os_error() == Some(libc::ELOOP) => {
                ErrorInfo::new("changed_meanwhile", format!("`{shown}`: a link was put in its way; try again"))
                    .retryable()
            }
            Unusable::Io(error) => ErrorInfo::new("io", format!("`{shown}`: {error}")),
        }
    }

    /// Says that nothing is at `place`, and what is instead.
    pub fn missing(&self, place: &Place) -> ErrorInfo {
        let hint = match near_place(place) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "list_files shows what there is".into(),
        };
        ErrorInfo::new("not_found", format!("there is no file `{}`: {hint}", place.shown()))
    }
}

/// A path that looks like the one of `place`: in the same folder, or with the same name elsewhere.
fn near_place(place: &Place) -> Option<String> {
    let name = place.name()?.to_str()?;
    let folder = place.absolute().parent()?.to_owned();
    let beside: Vec<String> = fs::read_dir(&folder)
        .into_iter()
        .flatten()
        .take(MEANT_MAX)
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    let shown = |path: &Path| path.strip_prefix(place.root()).ok().map(|path| path.to_string_lossy().into_owned());
    if let Some(near) = nearest(name, beside.iter().map(String::as_str)) {
        return shown(&folder.join(near));
    }
    let wanted = Wanted { hidden: false, ignored: false, depth: None, at_most: MEANT_FOR };
    let elsewhere = Walk::of(&place.of_root(), wanted).take(MEANT_MAX);
    let mut same: Vec<PathBuf> =
        elsewhere.filter(|entry| entry.file_name() == name).map(ignore::DirEntry::into_path).collect();
    same.sort();
    same.first().and_then(|path| shown(path))
}
