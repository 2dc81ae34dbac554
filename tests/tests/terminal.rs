//! Whatever a job says, in whatever field, the terminal and the log file of who looks at it do nothing but show it.

use moonlog_tests::{Server, Settings, moonlog};
use serde_json::json;
use std::process::{Command, Stdio};

/// Sets a title, moves the cursor, clears, reports back, in 7 and in 8 bits, and turns the text around.
const EVIL: &str = r"x\27]0;evil\7\27[2J\27[1;1H\27c\27P+q\27\\\u{9b}2J\u{9d}0;evil\u{9c}\8\127\u{202e}\r\n\27[8my";

fn script() -> String {
    format!(
        r##"
        local evil = "{EVIL}"
        phase(evil)
        log(evil, "warn")
        print(evil)
        emit("n" .. evil, {{ [evil] = evil }})
        step(evil, function() return evil end)
        exec("printf", {{ "%s", evil }})
        exec(evil)
        pcall(function() step("broken", function() error(evil) end) end)
        wait_for(evil, {{ timeout = "1ms" }})
        approve {{ title = evil, timeout = "1ms", details = evil }}
        parallel {{ [evil] = function() return 1 end }}
        if args.fails then error({{ code = "evil", message = evil .. "\n" .. evil }}) end
        return {{ markdown = "# " .. evil .. "\n[a](" .. evil .. ")\n```\n" .. evil .. "\n```\n" .. evil }}
        "##
    )
}

/// What of `output` would act on a terminal; colours and the live tree's own movements do no harm.
fn harm(output: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(output);
    let mut found = Vec::new();
    let chars: Vec<char> = text.chars().collect();
    for (at, &c) in chars.iter().enumerate() {
        let harmful = match c {
            '\u{80}'..='\u{9f}' | '\u{7f}' | '\u{7}' | '\u{8}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                true
            }
            '\x1b' => {
                let code: String = chars[at + 1..].iter().take(12).collect();
                let end = code.find(|c: char| c.is_ascii_alphabetic()).map(|end| &code[..=end]);
                let known = |code: &str| {
                    let looks = code.strip_prefix('[').and_then(|code| code.strip_suffix('m'));
                    looks.is_some_and(|looks| looks != "8")
                        || matches!(code, "[2K" | "[1A" | "[1B" | "[K" | "[?25l" | "[?25h")
                        || code.strip_prefix('[').is_some_and(|code| code.ends_with(['A', 'B', 'G']))
                };
                !end.is_some_and(known)
            }
            _ => false,
        };
        if harmful {
            found.push(chars[at.saturating_sub(20)..(at + 20).min(chars.len())].iter().collect());
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_a_job_says_acts_on_a_terminal() {
    if Command::new("script").arg("--version").stdout(Stdio::null()).status().is_err() {
        eprintln!("\n!!! SKIPPED: `script` is not there, which gives a command a terminal !!!\n");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), &Settings::default()).await;
    std::fs::write(folder.path().join("evil.luau"), script()).unwrap();
    let jobs = [json!({}), json!({ "fails": true })].map(|args| json!({ "script": script(), "args": args }));
    let mut commands = vec!["run ./evil.luau".to_owned(), r#"run ./evil.luau --args '{"fails":true}'"#.to_owned()];
    commands.push("jobs".into());
    commands.push("ps".into());
    commands.push("approve".into());
    commands.push("events".into());
    commands.push("events --json".into());
    for body in &jobs {
        let job = server.submit(body).await;
        let ended = server.ended(&job).await;
        let fails = body["args"]["fails"] == true;
        assert_eq!(ended["state"], if fails { "failed" } else { "completed" }, "{ended}");
        assert!(!fails || ended["error"]["code"] == "evil", "{ended}");
        for command in ["show", "show --json", "events", "events --json", "trace", "replay", "diff {job}"] {
            commands.push(format!("{} {job}", command.replace("{job}", &job)));
        }
    }
    let url = server.url().to_owned();
    let (program, at) = (moonlog().to_owned(), folder.path().to_owned());
    // On threads that may block, as commands do.
    let harmed = tokio::task::spawn_blocking(move || {
        let mut harmed = Vec::new();
        for command in &commands {
            for on_a_terminal in [true, false] {
                let line = format!("'{}' --server '{url}' {command}", program.display());
                let mut shell = if on_a_terminal {
                    let mut shell = Command::new("script");
                    shell.args(["-qec", &line, "/dev/null"]);
                    shell
                } else {
                    let mut shell = Command::new("sh");
                    shell.args(["-c", &line]);
                    shell
                };
                let shell = shell.current_dir(&at).env("TERM", "xterm").stdin(Stdio::null());
                let output = shell.output().expect("the command runs");
                assert!(!(output.stdout.is_empty() && output.stderr.is_empty()), "{command} says nothing");
                // A result goes through a pipe as it is: the next program has the use of it.
                let looked_at = match (on_a_terminal, command.starts_with("run")) {
                    (false, true) => output.stderr,
                    _ => [output.stdout, output.stderr].concat(),
                };
                let harm = harm(&looked_at);
                if !harm.is_empty() {
                    harmed.push(format!("{command} (terminal: {on_a_terminal}): {:?}", &harm[..harm.len().min(4)]));
                }
            }
        }
        harmed
    })
    .await
    .unwrap();
    assert!(harmed.is_empty(), "{}", harmed.join("\n"));
    // Nor does the server's own log.
    let harm = harm(server.said().as_bytes());
    assert!(harm.is_empty(), "{harm:?}");
}
