//! Images that an agent is shown from files: of any that a script names, none holds anybody up.

use crate::agents::stage;
use nix::{sys::stat::Mode, unistd::mkfifo};
use serde_json::json;
use std::{fs, os::unix::fs::symlink};

#[test]
fn an_image_is_a_file_below_the_roots_or_named_in_full_and_nothing_else() {
    let stage = stage(json!([{ "text": "seen" }]));
    let folder = stage.folder.path();
    let outside = tempfile::tempdir().unwrap();
    fs::write(folder.join("cat.png"), b"\x89PNG").unwrap();
    fs::write(outside.path().join("other.png"), b"\x89PNG").unwrap();
    mkfifo(&folder.join("pipe.png"), Mode::S_IRWXU).unwrap();
    symlink("/dev/zero", folder.join("zero.png")).unwrap();
    symlink(outside.path(), folder.join("out")).unwrap();
    fs::create_dir(folder.join("folder.png")).unwrap();
    fs::File::create(folder.join("large.png")).unwrap().set_len(9 << 20).unwrap();
    let full = |path: std::path::PathBuf| path.display().to_string();
    for (image, is_seen) in [
        ("cat.png".to_owned(), true),
        (full(folder.join("cat.png")), true),
        (full(outside.path().join("other.png")), true),
        ("pipe.png".into(), false),
        ("zero.png".into(), false),
        ("/dev/zero/x.png".into(), false),
        ("out/other.png".into(), false),
        ("../other.png".into(), false),
        ("folder.png".into(), false),
        ("large.png".into(), false),
        ("none.png".into(), false),
        ("cat.txt".into(), false),
        ("cat\0.png".into(), false),
    ] {
        let script = format!(
            "local said, err = agent('What is it?', {{ images = {{ {} }}, tools = {{}} }}) return said or err.code",
            serde_json::to_string(&image).unwrap().replace("\\u0000", "\\0")
        );
        let job = stage.place.submit(&script);
        let expected = if is_seen { "\"seen\"" } else { "\"invalid_image\"" };
        assert_eq!(stage.place.result(&job), expected, "{image:?}");
    }
    stage.place.check();
}
