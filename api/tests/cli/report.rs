//! The built-in `repo-report`, on real repositories.

use crate::place::Place;
use serde_json::{Value, json};
use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt};

fn report(place: &Place, path: &str) -> Value {
    place.json(&["run", "repo-report", "--arg", &format!("path={path}"), "--json", "--quiet"])
}

/// A repository with what usually breaks scripts: odd names, binary files, a submodule, broken manifests.
fn odd() -> Place {
    let place = Place::new();
    place.git(".", &["init", "-q", "-b", "main", "odd"]);
    let write = |name: &[u8], content: &[u8]| {
        let path = place.path().join("odd").join(OsStr::from_bytes(name));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    };
    write(b"README.md", b"# Odd\n\n![badge](x)\n\nThis **tests** what `usually` breaks scripts.\n");
    write(b"with space/a:b.rs", b"fn main() {}\n// TODO: this | that\n// FIXME(x): \xc3\xa9\n");
    write(b"new\nline.py", b"x = 1\n");
    write(b"tab\tand\"quote.py", b"x = 1\n");
    write(b"not-utf8-\xff\xfe.json", b"{broken");
    write(b"big.bin", &(0..6_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect::<Vec<_>>());
    write(b"package.json", b"{\"a\": 1,}");
    write(b"good.json", b"\xef\xbb\xbf{\"a\": 1}");
    write(b"tsconfig.json", b"// comments are allowed here\n{}");
    write(b"Cargo.toml", b"a = \n");
    place.git("odd", &["add", "-A"]);
    place.git("odd", &["commit", "-q", "-m", "All of it"]);
    for n in 0..20 {
        write(b"hot.py", format!("n = {n}\n").as_bytes());
        write(b"gone.py", format!("n = {n}\n").as_bytes());
        place.git("odd", &["add", "-A"]);
        place.git("odd", &["commit", "-q", "-m", "More"]);
    }
    place.git("odd", &["rm", "-q", "gone.py"]);
    let odd = place.path().join("odd");
    let odd = odd.to_str().unwrap();
    place.git("odd", &["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", odd, "sub"]);
    place.git("odd", &["commit", "-q", "-m", "A submodule"]);
    place
}

#[test]
fn an_odd_repository_is_described() {
    let place = odd();
    let report = report(&place, "odd");
    assert_eq!(report["not_measured"], json!([]));
    assert_eq!(report["history"]["commits"], 22);
    assert_eq!(report["history"]["authors"][0]["name"], "Ann Author");
    assert_eq!((&report["files"]["total"], &report["files"]["submodules"]), (&json!(12), &json!(1)));
    assert_eq!((&report["largest"][0]["path"], &report["largest"][0]["bytes"]), (&json!("big.bin"), &json!(6_000_000)));
    assert_eq!(
        (&report["churn"]["files"][0]["path"], &report["churn"]["files"][0]["changes"]),
        (&json!("hot.py"), &json!(20))
    );
    assert!(!report["churn"].to_string().contains("gone.py"), "what is gone cannot be looked at");
    assert_eq!(report["markers"]["by_marker"], json!({"TODO": 1, "FIXME": 1}));
    assert_eq!(
        (&report["markers"]["places"][0]["path"], &report["markers"]["places"][0]["line"]),
        (&json!("with space/a:b.rs"), &json!(2))
    );
    let failed: Vec<_> =
        report["manifests"]["failed"].as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap()).collect();
    assert!(failed.contains(&"package.json") && failed.iter().any(|path| path.contains("not-utf8")), "{failed:?}");
    assert!(!failed.contains(&"good.json") && !failed.contains(&"tsconfig.json"), "{failed:?}");
    let python = report["languages"].as_array().unwrap().iter().find(|language| language["name"] == "Python").unwrap();
    assert_eq!((&python["files"], &python["lines"]), (&json!(3), &json!(3)));
    let markdown = report["markdown"].as_str().unwrap();
    for part in [
        "# odd\n",
        "> This tests what usually breaks scripts.",
        "## What stands out",
        "`hot.py` changed in 9",
        "| Ann Author | 22 | 100 % |",
        "`package.json` (JSON)",
    ] {
        assert!(markdown.contains(part), "`{part}` is not in\n{markdown}");
    }
    // Only from a folder inside, bare, or shallow: the same repository.
    assert_eq!(self::report(&place, "odd/with space")["history"]["commits"], 22);
    place.git(".", &["clone", "-q", "--bare", "odd", "bare.git"]);
    assert_eq!(self::report(&place, "bare.git")["repository"]["bare"], true);
    let url = format!("file://{}", place.path().join("odd").display());
    place.git(".", &["clone", "-q", "--depth", "2", &url, "shallow"]);
    assert!(self::report(&place, "shallow")["markdown"].as_str().unwrap().contains("The clone is shallow"));
    // What it did can be replayed.
    assert!(place.ok(&["replay", "last"]).contains("is deterministic"));
}

#[test]
fn over_http_it_is_the_same() {
    let place = odd();
    let strip = |mut report: Value| {
        report.as_object_mut().unwrap().remove("markdown");
        report
    };
    let alone = strip(report(&place, "odd"));
    let _server = place.serve();
    assert_eq!(strip(report(&place, "odd")), alone);
}

#[test]
fn a_repository_without_commits_has_a_report() {
    let place = Place::new();
    place.git(".", &["init", "-q", "-b", "main", "empty"]);
    let report = report(&place, "empty");
    assert_eq!(report["empty"], true);
    assert!(report["markdown"].as_str().unwrap().contains("no commits yet"));
}

#[test]
fn what_is_no_repository_fails_with_what_to_do() {
    let place = Place::new();
    for path in [".", "missing", "-x"] {
        let said = place.run(&["run", "repo-report", "--quiet", "--arg", &format!("path={path}")]);
        assert_eq!(said.status, 1, "{}", said.err);
        assert!(said.err.starts_with(&format!("error: {path} is no git repository")), "{}", said.err);
        assert!(said.err.contains("code not_a_repository"), "{}", said.err);
    }
}

#[test]
fn without_git_it_says_so() {
    let place = Place::new();
    place.write("bin/none", "");
    let output =
        place.command(&["run", "repo-report", "--quiet"]).env("PATH", place.path().join("bin")).output().unwrap();
    let said = crate::place::Said::of(output);
    assert_eq!(said.status, 1);
    assert!(said.err.starts_with("error: this workflow needs git"), "{}", said.err);
}
