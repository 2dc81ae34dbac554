//! Workflows in folders, as they come, change, break and go while the server runs.

use crate::place::Place;
use serde_json::{Value, json};
use std::{fs, path::Path};

struct Folders {
    place: Place,
    first: tempfile::TempDir,
    second: tempfile::TempDir,
}

impl Folders {
    async fn start() -> Self {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let folders = vec![first.path().join("workflows"), second.path().to_owned()];
        let place = Place::with(|settings| settings.workflows = folders).await;
        Self { place, first, second }
    }

    fn first(&self) -> std::path::PathBuf {
        self.first.path().join("workflows")
    }

    /// The entries of this name.
    async fn named(&self, name: &str) -> Vec<Value> {
        let (status, page) = self.place.get("/v1/workflows?limit=200").await;
        assert_eq!(status, 200, "{page}");
        page["items"].as_array().unwrap().iter().filter(|item| item["name"] == name).cloned().collect()
    }

    async fn run(&self, name: &str) -> Value {
        self.place.post("/v1/jobs?wait=30s", &json!({ "workflow": name })).await.1
    }
}

fn returning(what: &str) -> String {
    format!("return {{ description = '{what}', run = function() return '{what}' end }}")
}

fn write(folder: &Path, name: &str, source: impl AsRef<[u8]>) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join(name), source).unwrap();
}

#[tokio::test]
async fn files_come_change_break_are_mended_and_go() {
    let folders = Folders::start().await;
    assert!(folders.named("w").await.is_empty(), "the folder itself is not there yet");
    // Added.
    write(&folders.first(), "w.luau", returning("one"));
    assert_eq!(folders.named("w").await[0]["description"], "one");
    assert_eq!(folders.run("w").await["result"], "one");
    // Changed, to as many bytes.
    write(&folders.first(), "w.luau", returning("two"));
    assert_eq!(folders.run("w").await["result"], "two");
    // Put in its place by a rename, as editors do it.
    write(&folders.first(), "w.luau.new", returning("six"));
    fs::rename(folders.first().join("w.luau.new"), folders.first().join("w.luau")).unwrap();
    assert_eq!(folders.run("w").await["result"], "six");
    // Broken.
    write(&folders.first(), "w.luau", "local x = 1\nreturn { run = function( end }");
    let broken = folders.named("w").await;
    assert_eq!((broken.len(), &broken[0]["broken"], &broken[0]["errors"][0]["line"]), (1, &json!(true), &json!(2)));
    assert!(broken[0]["errors"][0]["message"].as_str().unwrap().contains("Expected"), "{broken:?}");
    let (status, problem) = folders.place.get("/v1/workflows/w").await;
    assert_eq!((status.as_u16(), &problem["errors"][0]["line"]), (404, &json!(2)));
    let refused = folders.run("w").await;
    assert_eq!((&refused["code"], &refused["errors"][0]["line"]), (&json!("script_does_not_compile"), &json!(2)));
    // Mended.
    write(&folders.first(), "w.luau", returning("seven"));
    assert_eq!(folders.run("w").await["result"], "seven");
    // Gone.
    fs::remove_file(folders.first().join("w.luau")).unwrap();
    assert!(folders.named("w").await.is_empty());
    assert_eq!(folders.run("w").await["code"], "no_such_workflow");
}

#[tokio::test]
async fn the_first_of_a_name_shadows_and_what_is_broken_hides_nothing() {
    let folders = Folders::start().await;
    write(folders.second.path(), "w.lua", returning("second"));
    write(folders.second.path(), "repo-report.luau", returning("mine"));
    let mine = folders.named("repo-report").await;
    assert_eq!((mine.len(), &mine[0]["shadows"]), (1, &json!(["builtin"])));
    assert_eq!(folders.run("repo-report").await["result"], "mine");
    write(&folders.first(), "w.luau", returning("first"));
    let both = folders.named("w").await;
    assert_eq!((both.len(), &both[0]["description"]), (1, &json!("first")));
    assert_eq!(both[0]["shadows"], json!([folders.second.path().join("w.lua").display().to_string()]));
    // A name that a file gives itself counts, and not the file's.
    write(&folders.first(), "other.luau", "return { name = 'w', run = function() return 'other' end }");
    assert_eq!(folders.named("w").await[0]["shadows"].as_array().unwrap().len(), 2);
    assert!(folders.named("other").await.is_empty());
    // The one in front breaks: the next of the name counts, and the broken one is shown beside it.
    write(&folders.first(), "w.luau", "return {");
    let now = folders.named("w").await;
    assert_eq!(now.len(), 2, "{now:?}");
    assert_eq!(now.iter().filter(|item| item["broken"] == true).count(), 1);
    assert_eq!(folders.run("w").await["result"], "other");
    fs::remove_file(folders.first().join("other.luau")).unwrap();
    assert_eq!(folders.run("w").await["result"], "second");
    fs::remove_file(folders.second.path().join("repo-report.luau")).unwrap();
    assert_eq!(folders.named("repo-report").await[0]["origin"], "builtin");
    // Which name a broken file would have nobody knows.
    let (_, problem) = folders.place.get("/v1/workflows/mine").await;
    assert!(problem["detail"].as_str().unwrap().contains("w.luau"), "{problem}");
}

#[tokio::test]
async fn whatever_lies_in_a_folder_is_listed_with_its_reason() {
    let folders = Folders::start().await;
    let folder = folders.first();
    let cases: [(&str, &[u8], Option<u64>, &str); 9] = [
        ("empty", b"", None, ""),
        ("bytes", b"local a = 1\nlocal b = '\xff\xfe'\n", Some(2), "UTF-8"),
        ("endless", b"while true do end", None, "without an operation"),
        ("throws", b"local t = nil\n\nreturn t.x", Some(3), "attempt to index nil"),
        ("norun", b"local x = 1\nreturn { name = 'n', args = { type = 'object' } }", Some(2), "`run` is missing"),
        ("schema", b"return {\n  args = { type = 'nonsense' },\n  run = function() end,\n}", Some(2), "JSON Schema"),
        ("named", b"return {\n  name = 'a/b',\n  run = function() end }", Some(2), "`name`"),
        ("crlf", b"local x = 1\r\nlocal y = = 2\r\n", Some(2), ""),
        ("acts", b"exec('true') return 1", None, ""),
    ];
    for (name, source, ..) in &cases {
        write(&folder, &format!("{name}.luau"), source);
    }
    write(&folder, "large.luau", vec![b' '; (1 << 20) + 1]);
    write(&folder, "notes.md", "no script");
    write(&folder, "types.d.luau", "declare x: any");
    fs::create_dir(folder.join("folder.luau")).unwrap();
    std::os::unix::fs::symlink("/nowhere", folder.join("dangling.luau")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", folder.join("zero.luau")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(folder.join("pipe.luau")).status().unwrap();
    assert!(made.success());
    for (name, _, line, reason) in cases {
        let entry = folders.named(name).await.remove(0);
        let is_broken = !["empty", "acts"].contains(&name);
        assert_eq!(entry["broken"], is_broken, "{entry}");
        if is_broken {
            let error = &entry["errors"][0];
            assert!(error["message"].as_str().unwrap().contains(reason), "{entry}");
            assert!(line.is_none() || error["line"].as_u64() == line, "{entry}");
        }
    }
    for (name, reason) in
        [("large", "more than"), ("dangling", "cannot be read"), ("zero", "no file"), ("pipe", "no file")]
    {
        let entry = folders.named(name).await.remove(0);
        assert!(entry["errors"][0]["message"].as_str().unwrap().contains(reason), "{entry}");
    }
    for none in ["folder", "notes", "types.d", "types"] {
        assert!(folders.named(none).await.is_empty(), "{none}");
    }
    assert_eq!(folders.run("acts").await["state"], "completed", "it is a job by itself");
}

#[tokio::test]
async fn check_gives_all_problems_with_their_lines() {
    let place = Place::start().await;
    let check = |script: &str| {
        let body = json!({ "script": script, "name": "s" });
        let place = &place;
        async move { place.post("/v1/workflows/check", &body).await.1 }
    };
    let report = check("return {\n  name = 1,\n  phases = 'x',\n  args = { type = 'x' },\n}").await;
    let lines: Vec<_> = report["errors"].as_array().unwrap().iter().map(|error| error["line"].clone()).collect();
    assert_eq!((&report["ok"], lines), (&json!(false), vec![json!(2), json!(3), json!(4), json!(1)]), "{report}");
    let report = check("exce('ls')\nlocal x = json.encod(1)\nreturn y").await;
    let warnings = report["workflow"]["warnings"].as_array().unwrap().clone();
    let lines: Vec<_> = warnings.iter().map(|warning| warning["line"].clone()).collect();
    assert_eq!((&report["ok"], lines), (&json!(true), vec![json!(1), json!(2), json!(3)]), "{report}");
    let report = check("local a = 1\nif a then\n").await;
    assert_eq!((&report["ok"], report["errors"][0]["line"].is_u64()), (&json!(false), true), "{report}");
    let (status, problem) = place.post("/v1/workflows/check", &json!({ "scritp": "x" })).await;
    assert_eq!((status.as_u16(), problem["errors"].as_array().unwrap().len()), (400, 2), "{problem}");
}
