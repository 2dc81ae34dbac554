//! `edit_files`: all edits or none, whatever they are and whoever else edits.

use crate::place::Place;
use proptest::{prelude::*, test_runner::TestRunner};
use serde_json::{Value, json};
use std::{fs, os::unix::fs::PermissionsExt};

fn edit(path: &str, old_text: &str, new_text: &str) -> Value {
    json!({ "path": path, "old_text": old_text, "new_text": new_text })
}

#[tokio::test]
async fn edits_of_several_files_apply_in_order() {
    let place = Place::start().await;
    place.write("a", "one\ntwo\n");
    place.write("b/c", "x x x\n");
    fs::set_permissions(place.path("a"), fs::Permissions::from_mode(0o640)).unwrap();
    let edits = json!({ "edits": [
        edit("a", "one", "1"),
        { "path": "b/c", "old_text": "x", "new_text": "y", "replace_all": true },
        edit("./a", "1\ntwo", "both"),
    ] });
    let output = place.perform("edit_files", edits).await;
    assert_eq!(
        output.output.to_value(),
        json!({ "files": [{ "path": "a", "edits": 2, "replaced": 2 }, { "path": "b/c", "edits": 1, "replaced": 3 }] })
    );
    assert_eq!((place.read("a"), place.read("b/c")), ("both\n".into(), "y y y\n".into()));
    assert_eq!(fs::metadata(place.path("a")).unwrap().permissions().mode() & 0o777, 0o640);
    let changed: Vec<&str> = output.changes.iter().map(|change| change.path.as_str()).collect();
    assert_eq!(changed, ["a", "b/c"]);
    let diff = output.diff.unwrap();
    assert!(diff.contains("--- a/a\n") && diff.contains("+++ b/b/c\n"), "{diff}");
    // Edits that undo each other change nothing.
    let undone = json!({ "edits": [edit("a", "both", "x"), edit("a", "x", "both")] });
    assert_eq!(place.perform("edit_files", undone).await.changes.len(), 0);
}

#[tokio::test]
async fn one_edit_that_does_not_apply_changes_nothing_at_all() {
    let place = Place::start().await;
    place.write("a", "one\n");
    place.write("b", "two two\n");
    place.write("binary", b"\0\0");
    let before = place.all();
    for wrong in [
        edit("b", "three", "3"),
        edit("b", "two", "2"),
        edit("c", "x", "y"),
        edit("../x", "x", "y"),
        edit("binary", "x", "y"),
        edit("a", "1", "x\u{0}"),
    ] {
        for edits in [json!([edit("a", "one", "1"), wrong]), json!([wrong, edit("a", "one", "1")])] {
            // The last of them would apply to the file as it was, but not as the edit before it leaves it.
            let error = place.perform("edit_files", json!({ "edits": edits })).await.error;
            if wrong["old_text"] != "1" {
                assert!(error.unwrap().message.contains("nothing was changed"), "{wrong}");
                assert_eq!(place.all(), before, "{wrong}");
            }
        }
        place.write("a", "one\n");
    }
}

#[tokio::test]
async fn every_wrong_edit_is_told() {
    let place = Place::start().await;
    place.write("src/main.rs", "fn main() {\n    let x = 1;\n    let x = 1;\n}\n");
    let error = place
        .perform(
            "edit_files",
            json!({ "edits": [
                edit("src/main.rs", "let y = 1;", "z"),
                edit("src/main.rs", "let x = 1;", "z"),
                edit("src/mian.rs", "a", "b"),
            ] }),
        )
        .await
        .error
        .unwrap();
    insta::assert_snapshot!(error.message.replace("; edits", ";\nedits"), @r"
    nothing was changed: edits[0] (src/main.rs): old_text was not found; the nearest line is 2: `    let x = 1;`;
    edits[1] (src/main.rs): old_text is there 2 times, on lines 2, 3: take in lines around it until it is unique, or set replace_all;
    edits[2] (src/mian.rs): there is no file `src/mian.rs`: did you mean `src/main.rs`?
    ");
    assert_eq!(error.details.unwrap().to_value()["edits"].as_array().unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edits_of_one_file_at_once_are_all_kept() {
    let place = Place::start().await;
    let lines: String = (0..60).map(|n| format!("line {n};\n")).collect();
    place.write("file", &lines);
    place.write("other", &lines);
    let calls = (0..60).map(|n| {
        // Both ways round, so that two that want the same files could wait for each other.
        let (old, new) = (format!("line {n};"), format!("LINE {n};"));
        let mut edits = [edit("file", &old, &new), edit("other", &old, &new)];
        if n % 2 == 0 {
            edits.reverse();
        }
        place.perform("edit_files", json!({ "edits": edits }))
    });
    for output in futures_util::future::join_all(calls).await {
        assert_eq!(output.error, None);
    }
    assert_eq!(
        (place.read("file"), place.read("other")),
        (lines.replace("line", "LINE"), lines.replace("line", "LINE"))
    );
    assert_eq!(place.all().len(), 2);
}

/// What a file is made of, and what edits name: few letters, so that many match, and many match more than once.
fn text() -> impl Strategy<Value = String> {
    "[ab\n]{0,12}"
}

fn edits() -> impl Strategy<Value = Vec<(usize, String, String, bool)>> {
    prop::collection::vec((0..3_usize, "[ab\n]{1,3}", "[abc\n]{0,3}", any::<bool>()), 1..6)
}

/// What the edits make of the files, by the plainest means.
fn expected(mut files: Vec<String>, edits: &[(usize, String, String, bool)]) -> Option<Vec<String>> {
    for (file, old, new, all) in edits {
        let text = files.get_mut(*file)?;
        let places = (0..text.len()).filter(|at| text[*at..].starts_with(old.as_str())).count();
        if places == 0 || (places > 1 && !all) || old == new {
            return None;
        }
        *text = if *all { text.replace(old.as_str(), new) } else { text.replacen(old.as_str(), new, 1) };
    }
    Some(files)
}

#[test]
fn random_edits_apply_all_or_none() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let place = runtime.block_on(Place::start());
    let mut runner = TestRunner::new(ProptestConfig::with_cases(300));
    let cases = (text(), text(), edits());
    runner
        .run(&cases, |(one, two, edits)| {
            // The third file is never there.
            let before = vec![one, two];
            for (at, text) in before.iter().enumerate() {
                place.write(&format!("f{at}"), text);
            }
            let input: Vec<Value> = edits
                .iter()
                .map(|(file, old, new, all)| {
                    json!({ "path": format!("f{file}"), "old_text": old, "new_text": new, "replace_all": all })
                })
                .collect();
            let output = runtime.block_on(place.perform("edit_files", json!({ "edits": input })));
            let after: Vec<String> = (0..2).map(|at| place.read(&format!("f{at}"))).collect();
            match expected(before.clone(), &edits) {
                Some(wanted) => {
                    prop_assert_eq!(output.error, None);
                    prop_assert_eq!(after, wanted);
                }
                None => {
                    prop_assert!(output.error.is_some());
                    prop_assert_eq!(after, before);
                    prop_assert_eq!(output.changes.len(), 0);
                }
            }
            prop_assert_eq!(place.all().len(), 2);
            Ok(())
        })
        .unwrap();
}
