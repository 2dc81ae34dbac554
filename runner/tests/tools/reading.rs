//! `read_file`.

use crate::place::{Place, SECRET};
use serde_json::json;
use std::os::unix::fs::symlink;

#[tokio::test]
async fn parts_of_a_file_are_given_with_where_to_go_on() {
    let place = Place::with(|options| {
        options.limits.read_max_lines = 3;
        options.limits.read_max_bytes = 1_000;
        options.limits.line_max_bytes = 100;
    })
    .await;
    place.write("five", "1\n2\n3\n4\n5\n");
    place.write("open", "1\n2");
    place.write("empty", "");
    place.write("crlf", "a\r\nb\r\n");
    for (input, content, truncated) in [
        (json!({ "path": "five" }), "1\n2\n3\n", json!({ "lines_left": 2, "next_offset": 4 })),
        (json!({ "path": "five", "offset": 4 }), "4\n5\n", json!(null)),
        (json!({ "path": "five", "offset": 2, "limit": 1 }), "2\n", json!({ "lines_left": 3, "next_offset": 3 })),
        (json!({ "path": "open" }), "1\n2", json!(null)),
        (json!({ "path": "empty" }), "", json!(null)),
        (json!({ "path": "crlf" }), "a\r\nb\r\n", json!(null)),
    ] {
        let found = place.ok("read_file", input.clone()).await;
        assert_eq!(found["content"], content, "{input}");
        assert_eq!(found.get("truncated").cloned().unwrap_or_default(), truncated, "{input}");
    }
    assert_eq!(
        place.ok("read_file", json!({ "path": "five", "offset": 2 })).await,
        json!({ "path": "five", "content": "2\n3\n4\n", "start_line": 2, "lines": 3, "total_lines": 5, "size_bytes": 10,
                "truncated": { "lines_left": 1, "next_offset": 5 }, "note": "Lines that follow: 1; go on with offset 5." })
    );
}

#[tokio::test]
async fn long_lines_are_cut_between_characters_and_long_files_at_a_line() {
    let place = Place::with(|options| {
        options.limits.read_max_bytes = 250;
        options.limits.line_max_bytes = 100;
    })
    .await;
    place.write("wide", format!("{}\nshort\n", "☃".repeat(100_000)));
    let found = place.ok("read_file", json!({ "path": "wide" })).await;
    let lines: Vec<&str> = found["content"].as_str().unwrap().lines().collect();
    assert!(lines[0].ends_with("☃ ... [truncated]") && lines[0].len() <= 100, "{found}");
    assert_eq!((lines[1], &found["truncated"]), ("short", &json!({ "lines_cut": 1 })));
    place.write("long", "0123456789\n".repeat(100));
    let found = place.ok("read_file", json!({ "path": "long" })).await;
    assert_eq!((&found["lines"], &found["truncated"]["lines_left"]), (&json!(22), &json!(78)), "{found}");
    // A line of exactly the limit is whole.
    place.write("exact", format!("{}\n", "x".repeat(100)));
    assert_eq!(place.ok("read_file", json!({ "path": "exact" })).await["truncated"], json!(null));
}

#[tokio::test]
async fn binary_files_are_named_as_such() {
    let place = Place::start().await;
    place.write("image.png", b"\x89PNG\r\n\x1a\n\0\0");
    place.write("data", b"abc\0def");
    place.write("latin", b"caf\xe9\n");
    for (path, kind) in [("image.png", "PNG image"), ("data", "binary data"), ("latin", "binary data")] {
        let found = place.ok("read_file", json!({ "path": path })).await;
        assert_eq!((&found["binary"], &found["kind"]), (&json!(true), &json!(kind)));
        assert!(found["note"].as_str().unwrap().contains("is a binary file"), "{found}");
    }
}

#[tokio::test]
async fn no_secret_is_read_and_no_link_leads_out() {
    let place = Place::start().await;
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("file"), "outside").unwrap();
    place.write("config", format!("token = {SECRET}\n"));
    assert_eq!(place.ok("read_file", json!({ "path": "config" })).await["content"], "token = ***\n");
    symlink(outside.path(), place.path("out")).unwrap();
    symlink(outside.path().join("file"), place.path("file")).unwrap();
    symlink("config", place.path("inner")).unwrap();
    for path in ["out/file", "file", "../x", "/etc/passwd", "out"] {
        for tool in ["read_file", "list_files", "search_files"] {
            let error = place.error(tool, json!({ "path": path, "pattern": "x" })).await;
            assert!(tool == "read_file" || tool == "list_files" || error.starts_with("outside_workspace"), "{error}");
        }
        assert!(place.error("read_file", json!({ "path": path })).await.starts_with("outside_workspace"), "{path}");
    }
    assert_eq!(place.ok("read_file", json!({ "path": "inner" })).await["content"], "token = ***\n");
}
