//! The library: names, folders, shadows, broken files, arguments.

use moonlog_core::json::Json;
use moonlog_scripts::{Entry, Library, Origin, prepare_args};
use std::{fs, os::unix::fs::symlink};

#[test]
fn the_first_folder_wins_and_broken_files_hide_nothing() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let write = |folder: &tempfile::TempDir, name: &str, source: &str| {
        fs::write(folder.path().join(name), source).unwrap();
    };
    write(&first, "a.luau", "return {description = 'one', run = function() end}");
    write(&first, "b.lua", "return {\n run = ");
    write(&first, "c.luau", "error('at\\ttop')");
    write(&first, "notes.txt", "no script");
    write(&second, "x.luau", "return {name = 'a', run = function() end}");
    write(&second, "b.luau", "return 1");
    let missing = first.path().join("nowhere");
    let library = Library::new(vec![missing, first.path().into(), second.path().into()]);

    let a = library.get("a").unwrap();
    assert_eq!(a.description.as_deref(), Some("one"));
    assert_eq!(a.shadows, [Origin::File(second.path().join("x.luau"))]);
    assert_eq!(library.get("b").unwrap().origin, Origin::File(second.path().join("b.luau")));
    let broken: Vec<_> = library
        .list()
        .into_iter()
        .filter_map(|entry| match entry {
            Entry::Broken(broken) => Some((broken.name, broken.problems[0].line)),
            Entry::Workflow(_) => None,
        })
        .collect();
    assert_eq!(broken, [("b".into(), Some(2)), ("c".into(), Some(1))]);
    assert!(library.get("nothing").is_none());

    write(&first, "b.lua", "return {run = function() end, description = 'mended and longer'}");
    assert_eq!(library.get("b").unwrap().description.as_deref(), Some("mended and longer"));
    // As large as before, and as old as before.
    let path = first.path().join("b.lua");
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    write(&first, "b.lua", "return {run = function() end, description = 'MENDED and longer'}");
    fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
    assert_eq!(library.get("b").unwrap().description.as_deref(), Some("MENDED and longer"));
}

#[test]
fn arguments_get_their_defaults_and_are_validated() {
    let schema = Json::parse(
        r#"{"type":"object","required":["n"],"properties":{"path":{"type":"string","default":"."},"n":{"type":"integer"},
        "deep":{"type":"object","default":{},"properties":{"x":{"default":[1]}}}}}"#,
    )
    .unwrap();
    let args = |text: &str| prepare_args(Some(&schema), &Json::parse(text).unwrap());
    assert_eq!(args(r#"{"n":1}"#).unwrap().as_str(), r#"{"deep":{"x":[1]},"n":1,"path":"."}"#);
    assert_eq!(args(r#"{"n":1,"path":"/x"}"#).unwrap().as_str(), r#"{"deep":{"x":[1]},"n":1,"path":"/x"}"#);
    let errors = args(r#"{"n":"x","path":3}"#).unwrap_err();
    let paths: Vec<&str> = errors.iter().map(|error| error.path.as_str()).collect();
    assert_eq!(paths, ["/n", "/path"]);
    assert_eq!(args("null").unwrap_err()[0].path, "");
    assert_eq!(prepare_args(None, &Json::null()).unwrap(), Json::null());
}

#[test]
fn what_lies_in_a_folder_cannot_hold_up_fill_or_show_what_is_elsewhere() {
    let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let at = |name: &str| folder.path().join(name);
    let source = "return { run = function() end }";
    fs::write(at("fine.luau"), source).unwrap();
    fs::write(outside.path().join("secret.luau"), source).unwrap();
    fs::create_dir(at("inner")).unwrap();
    fs::write(at("inner/real.luau"), source).unwrap();
    symlink("inner/real.luau", at("linked.luau")).unwrap();
    symlink(outside.path().join("secret.luau"), at("out.luau")).unwrap();
    symlink("/etc/passwd", at("passwd.luau")).unwrap();
    symlink("/dev/zero", at("zero.luau")).unwrap();
    symlink("/proc/self/environ", at("environ.luau")).unwrap();
    symlink("loop.luau", at("loop.luau")).unwrap();
    symlink(at("nowhere"), at("dangling.luau")).unwrap();
    fs::create_dir(at("folder.luau")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(at("pipe.luau")).status().unwrap();
    assert!(made.success());
    let _socket = std::os::unix::net::UnixListener::bind(at("socket.luau")).unwrap();
    fs::File::create(at("huge.luau")).unwrap().set_len(1 << 40).unwrap();
    fs::write(at("bytes.luau"), b"return '\xff'").unwrap();

    // Modules beside them are files of the folder too.
    fs::create_dir(at("modules")).unwrap();
    fs::write(at("modules/near.luau"), "return { here = 1 }").unwrap();
    symlink(outside.path().join("secret.luau"), at("modules/far.luau")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(at("modules/held.luau")).status().unwrap().success());
    let requires = "return { run = function() return require('near'), require('far'), require('held') end }";
    fs::write(at("requires.luau"), requires).unwrap();

    let library = Library::new(vec![folder.path().into()]);
    // On a thread of its own: a pipe that is waited for would be waited for for ever.
    let (done, listed) = std::sync::mpsc::channel();
    let looked_at = library.clone();
    std::thread::spawn(move || done.send(looked_at.list()));
    let listed = listed.recv_timeout(std::time::Duration::from_secs(30)).expect("the listing ends");
    let mut broken = std::collections::BTreeMap::new();
    let mut names = Vec::new();
    for entry in listed {
        match entry {
            Entry::Broken(entry) => drop(broken.insert(entry.name, entry.problems[0].message.clone())),
            Entry::Workflow(entry) if matches!(entry.origin, Origin::File(_)) => {
                assert!(!entry.source.contains("module: far") && !entry.source.contains("module: held"), "{entry:?}");
                assert!(entry.name != "requires" || entry.source.contains("module: near"), "{entry:?}");
                names.push(entry.name.clone());
            }
            Entry::Workflow(_) => {}
        }
    }
    assert_eq!(names, ["fine", "linked", "requires"]);
    for (name, why) in [
        ("out", "leads out of its folder"),
        ("passwd", "leads out of its folder"),
        ("environ", "leads out of its folder"),
        ("zero", "is a pipe, a socket or a device"),
        ("pipe", "is a pipe, a socket or a device"),
        ("socket", "is a pipe, a socket or a device"),
        ("huge", "more than 1048576 bytes"),
        ("bytes", "not valid UTF-8"),
        ("loop", "cannot be read"),
        ("dangling", "cannot be read"),
    ] {
        assert!(broken[name].contains(why), "{name}: {broken:?}");
    }
    assert!(!broken.contains_key("folder"));

    for name in ["out", "../secret", "..%2fsecret", "/etc/passwd", "inner/real", "fine.luau", "./fine", "fine\0", ""] {
        assert!(library.get(name).is_none(), "{name}");
    }
}

#[test]
fn of_a_folder_with_too_many_scripts_the_first_are_looked_at_and_the_rest_is_told() {
    let folder = tempfile::tempdir().unwrap();
    for n in 0..5 {
        std::fs::write(folder.path().join(format!("w{n}.luau")), "return 1").unwrap();
    }
    let library = Library::new(vec![folder.path().into()]).at_most(3);
    let names = library.names();
    assert!(names.contains(&"w2".to_owned()) && !names.contains(&"w3".to_owned()), "{names:?}");
    let told = library.list().into_iter().find_map(|entry| match entry {
        Entry::Broken(broken) => Some(broken.problems[0].message.clone()),
        Entry::Workflow(_) => None,
    });
    assert!(told.is_some_and(|told| told.contains("5 scripts, and 3") && told.contains("limits.workflows")));
    assert!(!Library::new(vec![folder.path().into()]).list().iter().any(|entry| matches!(entry, Entry::Broken(_))));
}
