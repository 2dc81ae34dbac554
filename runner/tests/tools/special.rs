//! What is no file: pipes, devices, sockets, names that are no text, links that come and go. No tool waits for them, and none
//! is led out by them.

use crate::place::Place;
use nix::{
    fcntl::{AT_FDCWD, RenameFlags, renameat2},
    sys::stat::Mode,
    unistd::mkfifo,
};
use serde_json::{Value, json};
use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt, fs::symlink, net::UnixListener},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// What no call may take, whatever it is asked.
const LONG: Duration = Duration::from_secs(20);

async fn call(place: &Place, tool: &str, input: Value) -> String {
    let called = tokio::time::timeout(LONG, place.perform(tool, input.clone())).await;
    let output = called.unwrap_or_else(|_| panic!("{tool} {input} hangs"));
    match output.error {
        Some(error) => format!("{}: {}", error.code, error.message),
        None => output.output.to_string(),
    }
}

/// Every tool on files, with this path.
fn every_tool(path: &str) -> [(&'static str, Value); 5] {
    [
        ("read_file", json!({ "path": path })),
        ("write_file", json!({ "path": path, "content": "x" })),
        ("edit_files", json!({ "edits": [{ "path": path, "old_text": "a", "new_text": "b" }] })),
        ("search_files", json!({ "path": path, "pattern": "x" })),
        ("list_files", json!({ "path": path })),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_tool_waits_for_a_pipe_a_socket_or_a_device() {
    let place = Place::start().await;
    place.write("file", "text\n");
    mkfifo(&place.path("pipe"), Mode::S_IRWXU).unwrap();
    let _socket = UnixListener::bind(place.path("socket")).unwrap();
    for special in ["pipe", "socket"] {
        for (tool, input) in every_tool(special) {
            let answer = call(&place, tool, input).await;
            let expected = match tool {
                "search_files" => "files_searched",
                "list_files" => "not_a_folder",
                _ => "not_a_file",
            };
            // A socket cannot even be opened.
            assert!(
                answer.contains(expected) || (special == "socket" && answer.starts_with("io:")),
                "{special} {tool}: {answer}"
            );
        }
    }
    // Links to devices lead out, and are not opened.
    for (link, target) in
        [("zero", "/dev/zero"), ("terminal", "/dev/tty"), ("own", "/proc/self/fd/0"), ("mem", "/proc/self/mem")]
    {
        symlink(target, place.path(link)).unwrap();
        for (tool, input) in every_tool(link) {
            let answer = call(&place, tool, input).await;
            assert!(answer.starts_with("outside_workspace"), "{link} {tool}: {answer}");
        }
    }
    for path in
        ["/proc/self/root/etc/passwd", "/proc/self/cwd/../../etc/passwd", "/dev/fd/0", "/dev/stdin", "//etc/passwd"]
    {
        for (tool, input) in every_tool(path) {
            let answer = call(&place, tool, input).await;
            assert!(answer.starts_with("outside_workspace"), "{path} {tool}: {answer}");
        }
    }
    // All of it beside a file that is looked at.
    assert!(call(&place, "search_files", json!({ "pattern": "tex" })).await.contains("\"line\":1"));
    assert!(call(&place, "read_file", json!({ "path": "flie" })).await.contains("did you mean `file`"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_that_are_pipes_links_or_nonsense_are_none() {
    let place = Place::start().await;
    place.write("kept", "x\n");
    place.write("left/out", "x\n");
    place.write("below/.gitignore", "[\n!(\n\0\nout\n");
    place.write("below/out", "x\n");
    place.write("below/in", "x\n");
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("rules"), "kept\n").unwrap();
    mkfifo(&place.path("left/.ignore"), Mode::S_IRWXU).unwrap();
    mkfifo(&place.path(".gitignore"), Mode::S_IRWXU).unwrap();
    symlink(outside.path().join("rules"), place.path(".ignore")).unwrap();
    fs::create_dir_all(place.path(".git/info")).unwrap();
    mkfifo(&place.path(".git/info/exclude"), Mode::S_IRWXU).unwrap();
    let listed = call(&place, "list_files", json!({})).await;
    for (path, is_there) in [("\"kept\"", true), ("left/out", true), ("below/in", true), ("below/out", false)] {
        assert_eq!(listed.contains(path), is_there, "{path}: {listed}");
    }
    let found = call(&place, "search_files", json!({ "pattern": "x", "path": "below" })).await;
    assert!(found.contains("below/in") && !found.contains("below/out"), "{found}");
    // A name that is nowhere is looked for everywhere.
    assert!(call(&place, "read_file", json!({ "path": "other/kept" })).await.contains("did you mean `kept`"));
}

#[tokio::test]
async fn names_that_are_no_text_or_lead_in_circles_do_no_harm() {
    let place = Place::start().await;
    place.write("file", "inside\n");
    fs::write(place.path("x").with_file_name(OsStr::from_bytes(b"\xff\xfe\n\x1b[2J")), "odd\n").unwrap();
    symlink(".", place.path("self")).unwrap();
    symlink("loop", place.path("loop")).unwrap();
    let outside = tempfile::tempdir_in(place.path(".").parent().unwrap()).unwrap();
    let secret = outside.path().join("secret");
    fs::write(&secret, "outside\n").unwrap();
    fs::hard_link(&secret, place.path("hard")).unwrap();
    for (path, begins) in [
        ("self/self/self/file", "{\"content\":\"inside"),
        ("loop", "invalid_path"),
        ("file/", "{\"content\":\"inside"),
        ("file/.", "{\"content\":\"inside"),
        ("FILE", "not_found"),
        ("file\0.txt", "invalid_path"),
        ("./././file", "{\"content\":\"inside"),
        ("self/../../x", "outside_workspace"),
        ("\u{202e}elif", "not_found"),
    ] {
        let answer = call(&place, "read_file", json!({ "path": path })).await;
        assert!(answer.starts_with(begins), "{path:?}: {answer}");
    }
    // What is written takes the name's place: others that name the same file keep theirs.
    call(&place, "write_file", json!({ "path": "hard", "content": "mine\n" })).await;
    assert_eq!((fs::read_to_string(&secret).unwrap().as_str(), place.read("hard").as_str()), ("outside\n", "mine\n"));
    let found = call(&place, "search_files", json!({ "pattern": "odd" })).await;
    assert!(found.contains("\"text\":\"odd\"") && !found.contains('\u{1b}'), "{found}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_is_swapped_for_a_link_all_the_time_leads_nowhere() {
    let place = Place::start().await;
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("file"), "outside-content\n").unwrap();
    fs::create_dir(place.path("a")).unwrap();
    place.write("a/file", "inside\n");
    symlink(outside.path(), place.path("link")).unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let (stop, root) = (done.clone(), place.path("."));
    let swapper = std::thread::spawn(move || {
        let mut swaps = 0_u64;
        while !stop.load(Ordering::Relaxed) {
            // At once, so that one of the two is always there.
            let (a, link) = (root.join("a"), root.join("link"));
            renameat2(AT_FDCWD, &a, AT_FDCWD, &link, RenameFlags::RENAME_EXCHANGE).unwrap();
            swaps += 1;
        }
        swaps
    });
    for _ in 0..150 {
        for (tool, input) in every_tool("a/file").into_iter().take(3).chain([
            ("write_file", json!({ "path": "a/deep/new", "content": "x" })),
            ("search_files", json!({ "pattern": "-content" })),
            ("search_files", json!({ "pattern": "-content", "path": "a" })),
            ("delete_file", json!({ "path": "a/file" })),
        ]) {
            let answer = call(&place, tool, input).await;
            assert!(!answer.contains("outside-content"), "{tool}: {answer}");
        }
    }
    done.store(true, Ordering::Relaxed);
    assert!(swapper.join().unwrap() > 0);
    let left: Vec<_> = fs::read_dir(outside.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["file"]);
    assert_eq!(fs::read_to_string(outside.path().join("file")).unwrap(), "outside-content\n");
}
