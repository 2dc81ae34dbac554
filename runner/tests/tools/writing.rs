//! `write_file` and `delete_file`.

use crate::place::{Place, SECRET};
use serde_json::json;
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

#[tokio::test]
async fn a_file_is_made_with_its_folders_and_keeps_its_mode() {
    let place = Place::start().await;
    let output = place.perform("write_file", json!({ "path": "a/b/c.txt", "content": "one\n" })).await;
    assert_eq!(
        output.output.to_value(),
        json!({ "path": "a/b/c.txt", "size_bytes": 4, "changed": true, "created": true })
    );
    assert_eq!((output.changes.len(), output.changes[0].op.as_str()), (1, "created"));
    fs::set_permissions(place.path("a/b/c.txt"), fs::Permissions::from_mode(0o751)).unwrap();
    let output = place.perform("write_file", json!({ "path": "a/b/c.txt", "content": "two\n" })).await;
    assert_eq!(output.changes[0].op, "edited");
    assert_eq!(output.changes[0].before_hash, Some(moonlog_core::id::Hash::of(b"one\n")));
    assert_eq!(output.changes[0].after_hash, Some(moonlog_core::id::Hash::of(b"two\n")));
    assert_eq!(fs::metadata(place.path("a/b/c.txt")).unwrap().mode() & 0o7777, 0o751);
    let again = place.perform("write_file", json!({ "path": "a/b/c.txt", "content": "two\n" })).await;
    assert_eq!((again.changes.len(), again.diff), (0, None));
    // Nothing but the file is left.
    assert_eq!(place.all(), [("a/b/c.txt".to_owned(), b"two\n".to_vec())]);
}

#[tokio::test]
async fn a_link_is_written_through_and_deleted_itself() {
    let place = Place::start().await;
    place.write("real", "old");
    symlink("real", place.path("link")).unwrap();
    place.ok("write_file", json!({ "path": "link", "content": "new" })).await;
    assert!(place.path("link").is_symlink());
    assert_eq!(place.read("real"), "new");
    let output = place.perform("delete_file", json!({ "path": "link" })).await;
    assert_eq!(output.changes[0].op, "deleted");
    assert!(!place.path("link").is_symlink() && place.path("real").exists());
    symlink("/etc/passwd", place.path("out")).unwrap();
    place.ok("delete_file", json!({ "path": "out" })).await;
    assert!(!place.path("out").is_symlink());
    let output = place.perform("delete_file", json!({ "path": "real" })).await;
    assert_eq!(output.diff.unwrap(), "--- a/real\n+++ /dev/null\n@@ -1 +0,0 @@\n-new\n\\ No newline at end of file\n");
    assert!(place.all().is_empty());
}

#[tokio::test]
async fn nothing_is_written_or_deleted_outside() {
    let place = Place::start().await;
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("file"), "outside").unwrap();
    symlink(outside.path(), place.path("out")).unwrap();
    symlink(outside.path().join("new"), place.path("dangling")).unwrap();
    symlink(outside.path().join("file"), place.path("file")).unwrap();
    for path in
        ["out/new", "out/file", "out/deep/new", "dangling", "file", "../new", "/tmp/moonlog-nowhere/new", "x/../../new"]
    {
        let written = place.error("write_file", json!({ "path": path, "content": "x" })).await;
        assert!(written.starts_with("outside_workspace"), "{path}: {written}");
        let edits = json!({ "edits": [{ "path": path, "old_text": "outside", "new_text": "x" }] });
        assert!(place.error("edit_files", edits).await.starts_with("outside_workspace"), "{path}");
    }
    for path in ["out/file", "../x", "/etc/hostname"] {
        let deleted = place.error("delete_file", json!({ "path": path })).await;
        assert!(deleted.starts_with("outside_workspace"), "{path}: {deleted}");
    }
    let left: Vec<_> = fs::read_dir(outside.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["file"]);
    assert_eq!(fs::read_to_string(outside.path().join("file")).unwrap(), "outside");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_never_sees_half_a_file() {
    let place = Place::start().await;
    let contents = ["a".repeat(200_000), "b".repeat(200_000)];
    place.write("file", &contents[0]);
    let (path, done) = (place.path("file"), Arc::new(AtomicBool::new(false)));
    let (stop, allowed) = (done.clone(), contents.clone());
    let reader = std::thread::spawn(move || {
        let mut reads = 0;
        while !stop.load(Ordering::Relaxed) {
            let seen = fs::read_to_string(&path).unwrap();
            assert!(allowed.contains(&seen), "half a file of {} bytes", seen.len());
            reads += 1;
        }
        reads
    });
    for turn in 0..40 {
        place.ok("write_file", json!({ "path": "file", "content": contents[(turn + 1) % 2] })).await;
    }
    done.store(true, Ordering::Relaxed);
    assert!(reader.join().unwrap() > 0);
}

#[tokio::test]
async fn what_cannot_be_written_leaves_nothing_behind() {
    let place = Place::with(|options| options.limits.write_max_bytes = 100).await;
    place.write("file", "x");
    place.write("large", "x".repeat(101));
    fs::create_dir(place.path("folder")).unwrap();
    for (path, content, code) in [
        ("folder", "x", "is_a_folder"),
        (".", "x", "is_a_folder"),
        ("file/below", "x", "not_a_folder"),
        ("new", &*"x".repeat(101), "too_large"),
        ("large", "x", "too_large"),
    ] {
        let error = place.error("write_file", json!({ "path": path, "content": content })).await;
        assert!(error.starts_with(code), "{path}: {error}");
    }
    let names: Vec<String> = place.all().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["file", "large"]);
    // What is too large to be read for a diff can be deleted all the same.
    let output = place.perform("delete_file", json!({ "path": "large" })).await;
    assert_eq!(output.diff.unwrap(), "Files a/large and /dev/null differ: 101 bytes, too many for a diff\n");
}

#[tokio::test]
async fn no_diff_shows_a_secret() {
    let place = Place::start().await;
    let output = place.perform("write_file", json!({ "path": "env", "content": format!("T={SECRET}\n") })).await;
    assert!(!format!("{output:?}").contains(SECRET), "{output:?}");
    assert!(output.diff.unwrap().contains("+T=***"));
    assert_eq!(place.read("env"), format!("T={SECRET}\n"));
}
