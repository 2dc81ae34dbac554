//! What others on the machine can see of a server: its lines on standard error, its command line and environment, and those
//! of what it starts.

use moonlog_tests::{Server, Settings, eventually};
use reqwest::Method;
use serde_json::json;
use std::{collections::BTreeMap, path::Path};

/// A process as `/proc` shows it.
struct Seen {
    parent: u32,
    command_line: String,
    environment: String,
}

/// All processes of the machine.
fn processes() -> BTreeMap<u32, Seen> {
    let ids = std::fs::read_dir("/proc")
        .expect("processes")
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter_map(|id: u32| {
        let folder = Path::new("/proc").join(id.to_string());
        let text =
            |name: &str| std::fs::read(folder.join(name)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let parent = text("stat").ok()?.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()?;
        Some((
            id,
            Seen { parent, command_line: text("cmdline").ok()?, environment: text("environ").unwrap_or_default() },
        ))
    })
    .collect()
}

/// The process and all below it.
fn tree(root: u32) -> Vec<(u32, Seen)> {
    let mut all = processes();
    let (mut found, mut wanted) = (Vec::new(), vec![root]);
    while let Some(id) = wanted.pop() {
        wanted.extend(all.iter().filter(|(_, seen)| seen.parent == id).map(|(id, _)| *id));
        found.extend(all.remove(&id).map(|seen| (id, seen)));
    }
    found
}

#[tokio::test]
async fn no_process_shows_a_secret_but_the_one_that_was_given_it() {
    const SECRETS: [&str; 2] = ["hunter2-of-a-script", "hunter2-of-a-model"];
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings {
        config: "[secrets.KEY]\nenv = \"THE_KEY\"\ncommands = [\"sleep\"]\n\
                 [models.main]\nprovider = \"openai\"\nbase_url = \"http://127.0.0.1:1\"\nmodel = \"x\"\napi_key_env = \"MODEL_KEY\"\n"
            .into(),
        env: vec![("THE_KEY".into(), SECRETS[0].into()), ("MODEL_KEY".into(), SECRETS[1].into())],
        ..Settings::default()
    };
    let server = Server::start_with(folder.path(), &settings).await;
    let script = r#"
        local given = process("sleep", { "1000" }, { env = { T = secret("KEY") } })
        local other = process("sleep", { "2000" })
        wait_for("go")
    "#;
    let job = server.submit(&json!({ "script": script })).await;
    let both = || {
        let tree = tree(server.pid());
        ["1000", "2000"]
            .iter()
            .all(|time| tree.iter().any(|(_, seen)| seen.command_line.contains(time)))
            .then_some(tree)
    };
    let tree = eventually("both commands run", async || both()).await;
    // The server, its host, two supervisors, two commands.
    assert!(tree.len() >= 6, "{}", tree.len());
    for (id, seen) in &tree {
        let given = seen.command_line.contains("1000") && seen.command_line.starts_with("sleep");
        for secret in SECRETS {
            assert!(!seen.command_line.contains(secret), "{id}: {}", seen.command_line);
            let may = given && secret == SECRETS[0];
            assert_eq!(seen.environment.contains(secret), may, "{id} {}: {}", seen.command_line, seen.environment);
        }
    }
    let path = format!("/v1/jobs/{job}/cancel");
    server.post(&path, &json!({})).await;
}

#[tokio::test]
async fn what_clients_and_scripts_say_makes_no_line_of_the_servers_own() {
    const FORGED: &str = "2026-11-21T00:00:00.000000Z ERROR moonlog: forged";
    let folder = tempfile::tempdir().unwrap();
    let env = vec![("MOONLOG_LOG".to_owned(), "trace".to_owned())];
    let server = Server::start_with(folder.path(), &Settings { env, ..Settings::default() }).await;
    let evil = format!("x\n{FORGED}\r\n\u{1b}[2J\u{9b}2J\u{202e}");
    let encoded: String = evil.bytes().map(|byte| format!("%{byte:02x}")).collect();
    for (method, path, body) in [
        (Method::GET, format!("/{encoded}"), json!({})),
        (Method::GET, format!("/v1/workflows/{encoded}"), json!({})),
        (Method::GET, format!("/v1/events?types={encoded}&follow=false"), json!({})),
        (Method::POST, "/v1/jobs".into(), json!({ "workflow": evil })),
        (Method::POST, "/v1/jobs".into(), json!({ "script": evil })),
        (
            Method::POST,
            "/v1/jobs".into(),
            json!({ "script": "error(args.e)", "args": { "e": evil }, "labels": { "a": evil } }),
        ),
        (Method::POST, "/v1/processes".into(), json!({ "command": evil, "workdir": evil })),
        (
            Method::POST,
            "/v1/sessions".into(),
            json!({ "title": evil, "workspace": { "kind": "worktree", "repository": evil } }),
        ),
    ] {
        let request = server.request(method.clone(), &path);
        let request = if method == Method::POST { request.json(&body) } else { request };
        drop(request.send().await.unwrap());
    }
    let script = "log(args.e) print(args.e) phase(args.e) emit(args.e, 1) exec(args.e) step(args.e, function() error(args.e) end)";
    let job = server.submit(&json!({ "script": script, "args": { "e": evil } })).await;
    server.get(&format!("/v1/jobs/{job}?wait=30s")).await;
    assert!(server.run("return 1").await["result"] == 1);
    let said = server.said();
    assert!(said.lines().count() > 20, "{said}");
    for line in said.lines() {
        assert!(!line.starts_with(FORGED) && !line.contains(['\u{1b}', '\r', '\u{9b}', '\u{202e}']), "{line:?}");
    }
}
