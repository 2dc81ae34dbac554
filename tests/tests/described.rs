//! `/openapi.json` as somebody else's tool reads it.

use moonlog_tests::{Server, Settings, from_env, schemathesis};

/// How many requests are made up for each operation, and for how long: `SCHEMATHESIS_EXAMPLES` and `SCHEMATHESIS_SECONDS` choose more.
const EXAMPLES: u64 = 15;
const SECONDS: u64 = 30;

/// Nothing is waited for, and nothing computes for long.
const CONFIG: &str = "
[limits]
wait_max_ms = 100
script_compute_ms = 100
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_description_is_what_schemathesis_finds() {
    let folder = tempfile::tempdir().unwrap();
    // Whatever is taken for a command, there is none.
    let env = vec![("PATH".to_owned(), folder.path().join("no-commands").display().to_string())];
    let server = Server::start_with(folder.path(), &Settings { config: CONFIG.into(), env, before: None }).await;
    let examples = format!("--max-examples={}", from_env("SCHEMATHESIS_EXAMPLES", EXAMPLES));
    let seconds = format!("--max-time={}", from_env("SCHEMATHESIS_SECONDS", SECONDS));
    let seed = format!("--seed={}", from_env("MOONLOG_SEED", 1));
    let (url, at) = (server.url().to_owned(), folder.path().to_owned());
    let arguments = [
        "--checks=not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,\
         response_headers_conformance,allow_header_conformance,unsupported_method,ignored_auth",
        "--phases=examples,coverage,fuzzing",
        "--request-timeout=10",
        "--no-shrink",
        "--continue-on-failure",
        "--warnings=off",
        // Feeds do not end, and bundles are in no form that it can make up: `tests/fuzz` has both.
        "--exclude-path-regex=(/events|/import)$",
    ];
    let ran = tokio::task::spawn_blocking(move || {
        let chosen = [examples.as_str(), seconds.as_str(), seed.as_str()];
        schemathesis(&url, &at, &[&arguments[..], &chosen[..]].concat())
    });
    let ran = ran.await.unwrap();
    let Some((content, said)) = ran else { return };
    let said_in_the_end: Vec<&str> = said.lines().rev().take(150).collect();
    assert!(content, "{}", said_in_the_end.into_iter().rev().collect::<Vec<_>>().join("\n"));
    assert!(said.contains("passed"), "nothing was tried: {said}");
    assert!(!server.said().contains("panicked"), "{}", server.said());
    let job = server.run("return 1").await;
    assert_eq!(job["result"], 1, "{job}");
}
