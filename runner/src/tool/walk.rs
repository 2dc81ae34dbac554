//! Which files a folder has: what `.gitignore` and `.ignore` leave out is left out, and links are not followed.

use super::place::Place;
use ignore::{
    DirEntry, Match, WalkBuilder,
    gitignore::{Gitignore, GitignoreBuilder},
};
use std::{
    path::Path,
    time::{Duration, Instant},
};

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
        let above = if wanted.ignored { Vec::new() } else { rules_above(place) };
        let mut builder = WalkBuilder::new(place.absolute());
        builder
            .hidden(!wanted.hidden)
            .ignore(!wanted.ignored)
            .git_ignore(!wanted.ignored)
            .git_exclude(!wanted.ignored)
            .git_global(false)
            // Rules from above the workspace are not the workspace's.
            .parents(false)
            .require_git(false)
            .follow_links(false)
            .max_depth(wanted.depth)
            .sort_by_file_name(Ord::cmp)
            .filter_entry(move |entry| entry.depth() == 0 || is_wanted(entry, &above));
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

fn is_wanted(entry: &DirEntry, above: &[Gitignore]) -> bool {
    if entry.file_name() == ".git" {
        return false;
    }
    let is_folder = entry.file_type().is_some_and(|kind| kind.is_dir());
    for rules in above {
        match rules.matched(entry.path(), is_folder) {
            Match::Ignore(_) => return false,
            Match::Whitelist(_) => return true,
            Match::None => {}
        }
    }
    true
}

/// The rules of the folders between the workspace and the place, the nearest first.
fn rules_above(place: &Place) -> Vec<Gitignore> {
    let start = place.absolute();
    let above = start.ancestors().skip(1).take_while(|folder| folder.starts_with(place.root()));
    above.filter_map(rules_in).collect()
}

fn rules_in(folder: &Path) -> Option<Gitignore> {
    let mut builder = GitignoreBuilder::new(folder);
    for file in [".gitignore", ".ignore"] {
        let path = folder.join(file);
        if path.is_file() {
            builder.add(path);
        }
    }
    builder.build().ok().filter(|rules| !rules.is_empty())
}
