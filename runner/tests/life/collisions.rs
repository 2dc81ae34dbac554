//! Sessions that change the same files are told of each other, once.

use crate::{
    place::Place,
    repository::{Repository, lines},
};
use moonlog_core::{event::EventBody, id::SessionId};
use moonlog_runner::workspace::WorkspaceSpec;
use std::fs;

/// What a session was told, in order: path, other session, proximity.
fn told(place: &Place, session: &SessionId) -> Vec<(String, SessionId, String)> {
    let collision = |body: &EventBody| match body {
        EventBody::WorkspaceCollisionDetected(c) => Some((c.path.clone(), c.with, c.proximity.clone())),
        _ => None,
    };
    place.session_events(session).iter().filter_map(|event| collision(&event.body)).collect()
}

fn until_told(place: &Place, session: &SessionId, expected: &[(&str, SessionId, &str)]) {
    let expected: Vec<_> = expected.iter().map(|(path, with, how)| ((*path).into(), *with, (*how).into())).collect();
    place.until(&format!("{expected:?}"), || (told(place, session) == expected).then_some(()));
}

#[test]
fn sessions_of_one_repository_are_told_how_close_they_are() {
    let (place, repository) = (Place::start(), Repository::new());
    let (one, two) = (place.session(Some(repository.worktree())), place.session(Some(repository.worktree())));
    // One by a tool, the other by whatever a process did.
    place.edit(&one, "a.txt", Some(&lines(&[(2, "two")])));
    fs::write(place.root(&two).join("a.txt"), lines(&[(18, "eighteen")])).unwrap();
    place.changes(&two);
    until_told(&place, &one, &[("a.txt", two, "different_area")]);
    until_told(&place, &two, &[("a.txt", one, "different_area")]);
    // Nearer, and then on the same line: each is told once.
    place.edit(&one, "a.txt", Some(&lines(&[(2, "two"), (14, "fourteen")])));
    until_told(&place, &two, &[("a.txt", one, "different_area"), ("a.txt", one, "adjacent_line")]);
    place.edit(&one, "a.txt", Some(&lines(&[(2, "two"), (14, "14")])));
    place.edit(&one, "a.txt", Some(&lines(&[(2, "two"), (18, "18")])));
    place.until("the same line", || told(&place, &two).iter().any(|told| told.2 == "same_line").then_some(()));
    assert_eq!(told(&place, &one).len(), 3);
    assert_eq!(told(&place, &two).len(), 3);
    // A start tells nothing twice, and knows it all.
    let before = [&one, &two].map(|session| place.state(session).view());
    let storage = place.storage.clone();
    let place = place.kill(storage.unsynced());
    let third = place.session(Some(repository.worktree()));
    fs::write(place.root(&third).join("src/b.txt"), "mine\n").unwrap();
    place.changes(&third);
    fs::write(place.root(&third).join("a.txt"), lines(&[(18, "third")])).unwrap();
    place.changes(&third);
    place.until("the third is told of both", || (told(&place, &third).len() == 2).then_some(()));
    assert_eq!(told(&place, &one).len(), 4, "only of the third");
    let collisions = place.state(&one).view().collisions;
    assert!(before[0].collisions.iter().all(|collision| collisions.contains(collision)));
}

#[test]
fn sessions_of_one_directory_are_told_by_the_lines_as_they_are_now() {
    let place = Place::start();
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("sub")).unwrap();
    fs::write(folder.path().join("sub/a.txt"), lines(&[])).unwrap();
    let at = |path: std::path::PathBuf| Some(WorkspaceSpec::Directory { path: Some(path) });
    let (one, two) = (place.session(at(folder.path().into())), place.session(at(folder.path().join("sub"))));
    place.edit(&one, "sub/a.txt", Some(&lines(&[(15, "fifteen")])));
    // Ten lines come in above; the second session's line was line 15 of the file as it is then.
    let longer = "new\n".repeat(10) + &lines(&[(15, "fifteen")]);
    place.edit(&two, "a.txt", Some(&longer));
    until_told(&place, &one, &[("sub/a.txt", two, "different_area")]);
    until_told(&place, &two, &[("a.txt", one, "different_area")]);
    place.edit(&two, "a.txt", Some(&longer.replace("fifteen", "15")));
    place.until("the same line", || told(&place, &one).iter().any(|told| told.2 == "same_line").then_some(()));
}

#[test]
fn closed_sessions_and_merged_work_collide_with_nobody() {
    let (place, repository) = (Place::start(), Repository::new());
    let [one, two, three] = [(); 3].map(|()| place.session(Some(repository.worktree())));
    for session in [&one, &two] {
        fs::write(place.root(session).join("a.txt"), lines(&[(3, "three")])).unwrap();
    }
    place.changes(&one);
    place.block_on(place.runner.workspaces().merge(&one)).unwrap();
    place.changes(&two);
    place.block_on(place.runner.close_session(&two)).unwrap();
    fs::write(place.root(&three).join("a.txt"), lines(&[(3, "3")])).unwrap();
    place.changes(&three);
    // Told after all that could have been told before.
    let four = place.session(Some(repository.worktree()));
    fs::write(place.root(&four).join("a.txt"), lines(&[(3, "4")])).unwrap();
    place.changes(&four);
    until_told(&place, &three, &[("a.txt", four, "same_line")]);
    assert_eq!((told(&place, &one), told(&place, &two)), (vec![], vec![]));
}
