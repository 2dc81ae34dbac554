//! Which files a folder has: what `.gitignore` and `.ignore` leave out is left out, and links are not followed.
//!
//! The files of rules are read here, and not by the package that walks: it would wait for a pipe of that name.

use super::{
    place::Place,
    stored::{self, Stored},
};
use ignore::{
    DirEntry, Match, WalkBuilder,
    gitignore::{Gitignore, GitignoreBuilder},
};
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// The largest file of rules that is read; a larger one has none.
const RULES_MAX_BYTES: usize = 1 << 20;

/// What is looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// Also what begins with a dot.
    pub hidden: bool,
    /// Also what `.gitignore` leaves out.
    pub ignored: bool,
    /// How deep.
    pub depth: Option<usize>,
    /// How long.
    pub at_most: Duration,
}

/// The entries below a place, in the order of their paths, and whether time was up before the last.
pub(super) struct Walk {
    entries: ignore::Walk,
    until: Instant,
    pub late: bool,
}

impl Walk {
    pub fn of(place: &Place, wanted: Wanted) -> Self {
        let rules = (!wanted.ignored).then(|| Rules::of(place));
        let mut builder = WalkBuilder::new(place.absolute());
        builder
            .standard_filters(false)
            .hidden(!wanted.hidden)
            .follow_links(false)
            .max_depth(wanted.depth)
            .sort_by_file_name(Ord::cmp)
            .filter_entry(move |entry| {
                let leaves_out = |rules: &Rules| rules.leave_out(entry);
                entry.depth() == 0 || (entry.file_name() != ".git" && !rules.as_ref().is_some_and(leaves_out))
            });
        Self { entries: builder.build(), until: Instant::now() + wanted.at_most, late: false }
    }
}

impl Iterator for Walk {
    type Item = DirEntry;

    fn next(&mut self) -> Option<DirEntry> {
        loop {
            if Instant::now() > self.until {
                self.late = true;
                return None;
            }
            // What cannot be read is passed over, as by every tool of this kind.
            if let Ok(entry) = self.entries.next()? {
                return Some(entry);
            }
        }
    }
}

/// The rules of the folders from a workspace down, each read when something in it is looked at. Rules from above the workspace are
/// not the workspace's.
struct Rules {
    place: Place,
    root: PathBuf,
    read: Mutex<HashMap<PathBuf, Option<Arc<Gitignore>>>>,
}

impl Rules {
    fn of(place: &Place) -> Self {
        Self { place: place.of_root(), root: place.root().to_owned(), read: Mutex::default() }
    }

    /// Whether they leave an entry out: those nearest to it that say anything count.
    fn leave_out(&self, entry: &DirEntry) -> bool {
        let is_folder = entry.file_type().is_some_and(|kind| kind.is_dir());
        let folders = entry.path().ancestors().skip(1).take_while(|folder| folder.starts_with(&self.root));
        for rules in folders.filter_map(|folder| self.rules_in(folder)) {
            match rules.matched(entry.path(), is_folder) {
                Match::Ignore(_) => return true,
                Match::Whitelist(_) => return false,
                Match::None => {}
            }
        }
        false
    }

    fn rules_in(&self, folder: &Path) -> Option<Arc<Gitignore>> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = read.get(folder) {
            return known.clone();
        }
        let mut builder = GitignoreBuilder::new(folder);
        // Of those in one folder, the later ones win.
        for file in [".git/info/exclude", ".gitignore", ".ignore"] {
            let Ok(inside) = folder.strip_prefix(&self.root) else { continue };
            let text = match stored::read(&self.place.below(&inside.join(file)), RULES_MAX_BYTES) {
                Ok(Some(Stored { bytes, .. })) => bytes,
                _ => continue,
            };
            for line in String::from_utf8_lossy(&text).trim_start_matches('\u{feff}').lines() {
                // A line that is no rule says nothing, as in git.
                let _ = builder.add_line(None, line);
            }
        }
        let rules = builder.build().ok().filter(|rules| !rules.is_empty()).map(Arc::new);
        read.insert(folder.to_owned(), rules.clone());
        rules
    }
}
