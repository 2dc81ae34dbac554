//! The configuration through its one door, `Config::load`.

use super::{Config, ConfigError, Flag, Loaded, Source};
use std::path::PathBuf;

fn load(text: &str, env: &[(&str, &str)], flags: &[(&str, &str, &str)]) -> Result<Loaded, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("moonlog.toml");
    std::fs::write(&file, text).unwrap();
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let flags: Vec<Flag> = flags
        .iter()
        .map(|(flag, key, value)| Flag { flag: (*flag).into(), key: (*key).into(), value: (*value).into() })
        .collect();
    Config::load(Some(&file), env, &flags)
}

fn source(loaded: &Loaded, key: &str) -> Source {
    loaded.entries.iter().find(|entry| entry.key == key).unwrap().source.clone()
}

#[test]
fn an_empty_file_gives_the_documented_defaults() {
    let loaded = load("", &[], &[]).unwrap();
    assert_eq!(loaded.config.api.listen.to_string(), "127.0.0.1:7070");
    assert_eq!(loaded.config.runner.concurrency, 64);
    assert_eq!(loaded.config.queues["default"].capacity, 100_000);
    assert_eq!(loaded.config.limits.script_memory_bytes, 67_108_864);
    assert_eq!(loaded.config.limits.git_timeout.as_millis(), 120_000);
    assert_eq!(loaded.config.limits.git_output_bytes, 67_108_864);
    assert_eq!(loaded.config.limits.workspace_files, 2_000);
    assert_eq!(loaded.config.limits.workspace_diff_bytes, 1_048_576);
    assert_eq!(loaded.config.workspaces.folder, PathBuf::from("./.moonlog/worktrees"));
    assert!(loaded.config.api.token.is_none());
    assert!(loaded.entries.iter().all(|entry| entry.source == Source::Default && !entry.doc.is_empty()));
}

#[test]
fn the_specification_s_example_loads() {
    let spec = r#"
[api]
listen = "127.0.0.1:7070"
token_file = ""
[runner]
concurrency = 64
idle_evict_ms = 2_000
[defaults]
model = "main"
[models.main]
provider = "openai"
base_url = "http://127.0.0.1:8080/v1"
model = "some-model"
api_key_env = "OPENAI_API_KEY"
context_tokens = 128_000
prices = { prompt = 0.0, cached = 0, completion = 0.5 }
[models.demo]
provider = "scripted"
file = "turns.json"
[queues.default]
concurrency = 64
capacity = 100_000
rate_per_minute = 0
[secrets.GITHUB]
env = "GITHUB_TOKEN"
hosts = ["api.example.com"]
commands = ["git"]
[webhooks.done]
url = "https://example.com/hook"
types = ["job.completed", "job.failed"]
[tools]
ask = ["execute:rm *"]
roots = ["."]
[limits]
script_memory_bytes = 67_108_864
"#;
    let loaded = load(spec, &[("GITHUB_TOKEN", "hidden")], &[]).unwrap();
    assert_eq!(loaded.config.secrets["GITHUB"].commands, ["git"]);
    assert!(matches!(source(&loaded, "queues.default.capacity"), Source::File { line: 22, .. }));
    let shown = loaded.to_text();
    assert!(shown.contains("GITHUB_TOKEN (set)") && !shown.contains("hidden"), "{shown}");
    assert!(shown.contains("OPENAI_API_KEY (not set)"), "{shown}");
}

#[test]
fn everything_is_kept_unless_a_limit_is_set() {
    let retention = load("", &[], &[]).unwrap().config.retention;
    assert_eq!((retention.max_age, retention.max_ended_jobs, retention.max_bytes), (None, None, None));
    assert_eq!((retention.export_folder, retention.every.as_secs()), (None, 3_600));
    assert_eq!(retention.rewrite_min_bytes, 64 << 20);
    let text = "[retention]\nmax_age_ms = 5_000\nmax_ended_jobs = 7\nmax_bytes = 0\nexport_folder = \"~/old\"\n";
    let env = [("HOME", "/home/a"), ("MOONLOG_RETENTION__EVERY_MS", "2_000")];
    let retention = load(text, &env, &[]).unwrap().config.retention;
    assert_eq!((retention.max_age.unwrap().as_secs(), retention.max_ended_jobs), (5, Some(7)));
    assert_eq!((retention.max_bytes, retention.every.as_secs()), (None, 2), "0 is no limit");
    assert_eq!(retention.export_folder.unwrap(), std::path::Path::new("/home/a/old"));
    assert!(load("[retention]\nevery_ms = 10\n", &[], &[]).is_err());
}

#[test]
fn flags_win_over_variables_and_those_over_the_file() {
    let text = "[runner]\nconcurrency = 1\nidle_evict_ms = 1\nwarm_vms = 1\n[queues.Build]\ncapacity = 5\n";
    let env = [
        ("MOONLOG_RUNNER__CONCURRENCY", "2"),
        ("MOONLOG_RUNNER__IDLE_EVICT_MS", "2_0"),
        ("MOONLOG_QUEUES__BUILD__CAPACITY", "6"),
        ("MOONLOG_QUEUES__NEW__CAPACITY", "7"),
        ("MOONLOG_TOOLS__ALLOW", "a, b"),
        ("MOONLOG_TOOLS__ASK", r#"["execute:cp a,b *", "c"]"#),
        ("MOONLOG_DATA", "/elsewhere"),
        ("MOONLOG_LOG", "debug"),
        ("MOONLOG_TEST_SEED", "1"),
        ("OTHER__KEY", "not ours"),
    ];
    let loaded = load(text, &env, &[("--concurrency", "runner.concurrency", "3")]).unwrap();
    let config = &loaded.config;
    assert_eq!((config.runner.concurrency, config.runner.idle_evict.as_millis(), config.runner.warm_vms), (3, 20, 1));
    assert_eq!((config.queues["Build"].capacity, config.queues["new"].capacity), (6, 7));
    let texts = |key: &str| loaded.entries.iter().find(|entry| entry.key == key).unwrap().value.clone();
    assert_eq!(texts("tools.allow"), serde_json::json!(["a", "b"]));
    assert_eq!(texts("tools.ask"), serde_json::json!(["execute:cp a,b *", "c"]));
    assert_eq!(source(&loaded, "runner.concurrency"), Source::Flag("--concurrency".into()));
    assert_eq!(config.log.folder, PathBuf::from("/elsewhere"));
    assert_eq!(source(&loaded, "log.folder"), Source::Variable("MOONLOG_DATA".into()));
    assert_eq!(source(&loaded, "runner.idle_evict_ms"), Source::Variable("MOONLOG_RUNNER__IDLE_EVICT_MS".into()));
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    type Row = (&'static str, &'static [(&'static str, &'static str)], &'static str);
    let table: &[Row] = &[
        ("[runner]\nconcurency = 1", &[], ":2: unknown key `runner.concurency`; did you mean `runner.concurrency`?"),
        ("[runer]\nconcurrency = 1", &[], ":1: unknown key `runer`; did you mean `runner`?"),
        ("[queues.a]\ncapasity = 1", &[], "did you mean `queues.a.capacity`?"),
        ("runner = 5", &[], ":1: `runner` must be a table, and is the number 5"),
        ("", &[("MOONLOG_TOOLS__ASK", "[a]")], "`tools.ask` must be"),
        ("zzzzzzzzzz = 1", &[], ":1: unknown key `zzzzzzzzzz`"),
        (
            "[runner]\nconcurrency = \"many\"",
            &[],
            ":2: `runner.concurrency` must be a whole number from 1 to 100000, and is the text `many`",
        ),
        ("[runner]\nconcurrency = -1", &[], "and is -1"),
        ("[runner]\nconcurrency = 0", &[], "and is 0"),
        ("[api]\nlisten = \"7070\"", &[], "must be an address with a port"),
        ("[models.x]\nprovider = \"acme\"", &[], "one of openai"),
        ("[tools]\nask = [1]", &[], "a list with the number 1"),
        ("[secrets.A]\nhosts = []", &[], "`secrets.A.env` is not set"),
        ("[secrets.A]\nenv = \"MOONLOG_TOKEN\"", &[], "not moonlog's own"),
        ("[queues.\"a.b\"]\ncapacity = 1", &[], "`queues.a.b` must be named with letters"),
        ("[runner]\nconcurrency == 1", &[], "moonlog.toml:2:"),
        (
            "",
            &[("MOONLOG_RUNNER__CONCURENCY", "1")],
            "MOONLOG_RUNNER__CONCURENCY: unknown key `runner.concurency`; did you",
        ),
        ("", &[("MOONLOG_RUNNER__CONCURRENCY", "x")], "MOONLOG_RUNNER__CONCURRENCY: `runner.concurrency` must be"),
        ("[api]\ntoken_file = \"/nonexistent/token\"", &[], "cannot read /nonexistent/token"),
    ];
    for (text, env, expected) in table {
        let error = load(text, env, &[]).expect_err(text).to_string();
        assert!(error.contains(expected), "{text:?} gave {error:?}, expected {expected:?}");
    }
    let missing = Config::load(Some(&PathBuf::from("/nonexistent/moonlog.toml")), [], &[]).unwrap_err();
    assert!(missing.to_string().starts_with("cannot read /nonexistent/moonlog.toml"));
}

#[test]
fn all_that_is_unknown_is_named_at_once() {
    let text = "[runner]\nconcurency = 1\nnonsense_of_mine = 2\n[limts]\nfeeds = 1\n";
    let env = [("MOONLOG_BOGUS", "1"), ("MOONLOG_TOKN", "x"), ("MOONLOG_API_LISTEN", "x"), ("MOONLOG_API__LISTN", "x")];
    let error = load(text, &env, &[]).unwrap_err().to_string();
    let lines: Vec<&str> = error.lines().collect();
    for (line, expected) in [
        ":2: unknown key `runner.concurency`; did you mean `runner.concurrency`?",
        ":3: unknown key `runner.nonsense_of_mine`",
        ":4: unknown key `limts`; did you mean `limits`?",
        "MOONLOG_API_LISTEN: unknown variable; did you mean `MOONLOG_API__LISTEN`?",
        "MOONLOG_API__LISTN: unknown key `api.listn`; did you mean `api.listen`?",
        "MOONLOG_BOGUS: unknown variable",
        "MOONLOG_TOKN: unknown variable; did you mean `MOONLOG_TOKEN`?",
    ]
    .into_iter()
    .enumerate()
    {
        assert!(lines[line].contains(expected), "{error}\nexpected {expected}");
    }
    assert_eq!(lines.len(), 7, "{error}");
}

#[test]
fn the_token_comes_from_the_variable_or_the_file_and_is_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "from-file\n").unwrap();
    let text = format!("[api]\ntoken_file = {:?}", path.to_str().unwrap());
    let file = load(&text, &[], &[]).unwrap();
    assert_eq!(file.config.api.token.as_ref().unwrap().reveal(), "from-file");
    let variable = load(&text, &[("MOONLOG_TOKEN", "from-variable")], &[]).unwrap();
    assert_eq!(variable.config.api.token.as_ref().unwrap().reveal(), "from-variable");
    assert_eq!(source(&variable, "api.token"), Source::Variable("MOONLOG_TOKEN".into()));
    for shown in [variable.to_text(), variable.to_json().to_string(), format!("{variable:?}")] {
        assert!(!shown.contains("from-variable"));
    }
    std::fs::write(&path, " \n").unwrap();
    assert!(load(&text, &[], &[]).unwrap_err().to_string().contains("which is empty"));
}

#[test]
fn webhooks_say_where_they_post_and_what() {
    let text = "[webhooks.done]\nurl = 'https://hooks.example.com/T0/hidden'\nsecret_env = 'HOOK'\n[webhooks.all]\nurl = \
                'http://127.0.0.1:1/'\ntypes = ['*', 'job.c*']\nmax_attempts = 3\nwindow = 9";
    let loaded = load(text, &[("HOOK", "whsec_c2VjcmV0")], &[]).unwrap();
    let done = &loaded.config.webhooks["done"];
    assert_eq!(done.types, ["job.completed", "job.failed", "job.cancelled", "job.timed_out"]);
    assert_eq!((done.timeout.as_millis(), done.max_attempts, done.backoff.as_millis()), (15_000, 12, 5_000));
    assert_eq!((done.backoff_max.as_secs(), done.concurrency, done.window), (3_600, 4, 256));
    assert_eq!(done.inline_max_bytes, 262_144);
    let all = &loaded.config.webhooks["all"];
    assert_eq!((all.max_attempts, all.window), (3, 9));
    assert!(all.types.iter().any(|kind| kind == "step.started"));
    assert!(!all.types.iter().any(|kind| kind.starts_with("webhook.")), "a post is no reason for a post");
    assert!(loaded.config.key_variables.contains(&"HOOK".to_owned()), "no child sees it");
    let shown = format!("{:?}", loaded.entries);
    assert!(!shown.contains("hidden") && !shown.contains("c2VjcmV0") && shown.contains("HOOK (set)"), "{shown}");
    for (text, told) in [
        ("[webhooks.w]\ntypes = ['job.failed']", "`webhooks.w.url` is not set"),
        ("[webhooks.w]\nurl = 'ftp://x/'", "must be an address"),
        ("[webhooks.w]\nurl = 'nowhere'", "must be an address"),
        ("[webhooks.w]\nurl = 'http://x/'\ntypes = ['job.faild']", "did you mean `job.failed`?"),
        ("[webhooks.w]\nurl = 'http://x/'\ntypes = ['webhook.*']", "other than webhook.*"),
        ("[webhooks.w]\nurl = 'http://x/'\nmax_attempts = 0", "a whole number from 1"),
        ("[webhooks.w]\nurl = 'http://x/'\nsecret = 'x'", "unknown key `webhooks.w.secret`"),
    ] {
        let said = load(text, &[], &[]).unwrap_err().to_string();
        assert!(said.contains(told), "{said}");
    }
}

#[test]
fn rates_have_keys() {
    let text = "[queues.slow]\nrate_per_minute = 5\nkey_rate_per_minute = 2\n[models.main]\nrequests_per_minute = 7\n\
                tokens_per_minute = 100_000";
    let config = load(text, &[("MOONLOG_LIMITS__BULK_JOBS", "10")], &[]).unwrap().config;
    assert_eq!((config.queues["slow"].rate_per_minute, config.queues["slow"].key_rate_per_minute), (5, 2));
    assert_eq!((config.queues["default"].rate_per_minute, config.queues["default"].key_rate_per_minute), (0, 0));
    assert_eq!((config.models["main"].requests_per_minute, config.models["main"].tokens_per_minute), (7, 100_000));
    assert_eq!(config.limits.bulk_jobs, 10);
    assert!(load("[queues.q]\nrate_per_minute = 1_000_001", &[], &[]).is_err());
}

#[test]
fn agents_are_configured() {
    let defaults = load("", &[], &[]).unwrap().config.agents;
    assert_eq!((defaults.check_command.as_str(), defaults.wake, defaults.wakes_max), ("", false, 16));
    assert_eq!((defaults.check_timeout.as_millis(), defaults.check_output_max_bytes), (120_000, 8_192));
    let text = "[agents]\ncheck_command = \"make\"\ncheck_timeout_ms = 500\nwake = \"yes\"\nwakes_max = 2";
    let set = load(text, &[("MOONLOG_AGENTS__CHECK_OUTPUT_MAX_BYTES", "100")], &[]).unwrap().config.agents;
    assert_eq!((set.check_command.as_str(), set.check_timeout.as_millis()), ("make", 500));
    assert_eq!((set.check_output_max_bytes, set.wake, set.wakes_max), (100, true, 2));
    assert!(load("[agents]\nwake = \"perhaps\"", &[], &[]).is_err());
}
