//! What goes wrong around a server: its disk, its clock, its clients, its own end. Whatever it is, what was acknowledged is there
//! afterwards, and the server says what is wrong.
//!
//! `MOONLOG_SEED` chooses the moments; with `MOONLOG_LONG=1` there are many more of them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod broken_disk;
mod clock;
mod connections;
mod damage;
mod folder;
mod full_disk;
mod stopping;

use moonlog_tests::{command, from_env, printed};
use std::path::Path;

/// `few`, or `many` in a long run.
fn times(few: u64, many: u64) -> u64 {
    if from_env("MOONLOG_LONG", 0) == 1 { many } else { few }
}

/// The log in a folder without a server is sound.
fn check_sound(folder: &Path) {
    let output = command(folder, &["verify"]);
    assert!(output.status.success(), "{}", printed(&output));
}
