//! The shape of the project: who may name what, and what must be kept in step.

use moonlog_tests::sources::{ROOMS, code, files, sources, workspace};
use std::{collections::BTreeSet, fs};

fn naming(word: &str) -> BTreeSet<String> {
    let names = |text: &str| code(text).replace(&format!("self::{word}"), "").contains(word);
    sources().into_iter().filter(|(_, text)| names(text)).map(|(path, _)| path).collect()
}

#[test]
fn one_file_names_each_confined_package() {
    for (word, only) in [("sled::", "core/src/storage/sled.rs"), ("bincode::", "core/src/codec.rs")] {
        assert_eq!(naming(word), BTreeSet::from([only.to_owned()]), "who names {word}");
    }
    for path in naming("mlua::") {
        assert!(path.starts_with("scripts/src/"), "{path} names mlua: only the script host may");
    }
    for path in naming("warp::") {
        assert!(path.starts_with("api/src/"), "{path} names warp: only the api may");
    }
}

#[test]
fn dependencies_point_one_way() {
    for (index, room) in ROOMS.iter().enumerate() {
        let manifest = fs::read_to_string(workspace().join(room).join("Cargo.toml")).unwrap();
        for later in &ROOMS[index + 1..] {
            assert!(!manifest.contains(&format!("moonlog-{later}")), "{room} depends on {later}");
        }
    }
}

#[test]
fn core_has_no_clock_no_tasks_and_no_network() {
    // Four places measure time, and nothing that is stored or told depends on it: the writer's thread and whoever steps it, how
    // long a commit takes, to gather the next one; where appends come in, since when one that is in no hurry waits for it; the store's
    // edge, how long a server that ends may take to let go of its file.
    let measuring =
        ["core/src/log/intake.rs", "core/src/log/stepper.rs", "core/src/log/writer.rs", "core/src/storage/sled.rs"];
    for (path, text) in files("core/src", ".rs")
        .into_iter()
        .filter(|(path, _)| !measuring.contains(&path.as_str()) && !path.contains("/tests/"))
    {
        // Tests at a file's end may use what they need.
        let text = code(text.split("#[cfg(test)]").next().unwrap());
        for word in ["SystemTime::now", "Instant::now", "tokio::spawn", "TcpStream", "TcpListener"] {
            assert!(!text.contains(word), "{path} names {word}");
        }
    }
}

#[test]
fn unsafe_code_says_why() {
    for (path, text) in sources() {
        if code(&text).contains("unsafe ") && !code(&text).contains("unsafe_code") {
            panic!("{path} has unsafe code without #[expect(unsafe_code, reason = ...)]");
        }
    }
}

#[test]
fn every_module_opens_with_its_purpose() {
    for (path, text) in sources() {
        assert!(text.starts_with("//!"), "{path} does not say what lives in it");
    }
}

#[test]
fn every_dependency_says_what_it_is_for() {
    let manifest = fs::read_to_string(workspace().join("Cargo.toml")).unwrap();
    let dependencies = manifest.split("[workspace.dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
    // Packages that the design names need no word more than their heading.
    let given = dependencies.split("# --- core ---").next().unwrap();
    for line in dependencies.lines().filter(|line| line.contains(" = ") && !given.contains(*line)) {
        assert!(line.contains(" # "), "no reason stands beside: {line}");
    }
}

#[test]
fn every_room_and_file_of_the_map_is_there() {
    let text = fs::read_to_string(workspace().join("ARCHITECTURE.md")).unwrap();
    for room in ROOMS.iter().chain(["tests", "bench"].iter()) {
        assert!(text.contains(&format!("`{room}/")) || text.contains(&format!("`{room}`")), "{room} is not on the map");
    }
    for quoted in text.split('`').skip(1).step_by(2) {
        let looks_like_a_path =
            quoted.contains('/') && ROOMS.iter().any(|room| quoted.starts_with(&format!("{room}/")));
        if looks_like_a_path && !quoted.contains(['*', '<', ' ']) {
            assert!(workspace().join(quoted).exists(), "ARCHITECTURE.md names {quoted}, which is not there");
        }
    }
}

#[test]
fn the_readme_names_both_commands_and_the_check_runs_the_second() {
    let readme = fs::read_to_string(workspace().join("README.md")).unwrap();
    for command in ["cargo run --release -- run repo-report --arg path=.", "cargo test --workspace"] {
        assert!(readme.contains(command), "README.md does not name `{command}`");
    }
    let check = fs::read_to_string(workspace().join(".ci/run")).unwrap();
    assert!(check.contains("cargo test --workspace"), ".ci/run does not call the README's test command");
}

/// A promise is worth what shows it.
#[test]
fn tests_that_documents_name_exist() {
    let tests: BTreeSet<String> = [ROOMS.as_slice(), &["tests"]]
        .concat()
        .into_iter()
        .flat_map(|room| files(room, ".rs"))
        .flat_map(|(_, text)| {
            let names = text.split("fn ").skip(1).filter_map(|rest| rest.split(['(', '<']).next().map(str::to_owned));
            names.collect::<Vec<_>>()
        })
        .collect();
    for document in ["PROMISES.md", "SECURITY.md"] {
        let text = fs::read_to_string(workspace().join(document)).unwrap();
        // Names of tests are sentences; options and files have fewer words or other signs.
        let named =
            text.split('`').skip(1).step_by(2).filter(|name| {
                name.matches('_').count() >= 3 && name.chars().all(|c| c.is_ascii_lowercase() || c == '_')
            });
        let named: Vec<&str> = named.collect();
        assert!(named.len() > 10, "{document} names hardly any test");
        let missing: Vec<_> = named.into_iter().filter(|name| !tests.contains(*name)).collect();
        assert!(missing.is_empty(), "{document} names tests that are not there: {missing:?}");
    }
}
