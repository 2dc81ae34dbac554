//! The library: names, folders, shadows, broken files, arguments.

use moonlog_core::json::Json;
use moonlog_scripts::{Entry, Library, Origin, prepare_args};
use std::fs;

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
