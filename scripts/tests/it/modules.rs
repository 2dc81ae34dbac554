//! `require`: modules of the library, which become a part of the script that is stored.

use crate::world::{Say, World, error, eval};
use moonlog_scripts::{Library, check, link, module_names};

fn linked(source: &str) -> World {
    World::new(&link(source), |_| Say::Ok("null"))
}

#[test]
fn a_module_is_run_once_in_the_job_that_requires_it() {
    let source = "local a, b = require('markdown'), require(\"markdown\")
        step('s', function() return 1 end)
        a.mark = 7
        return { a == b, b.mark, a.counted(2, 'file') }";
    assert_eq!(linked(source).result(), r#"[true,7,"2 files"]"#);
    // Another job has another one.
    assert_eq!(linked("return require('markdown').mark == nil").result(), "true");
}

#[test]
fn modules_can_perform_operations_and_require_others() {
    let source = "local git = require('git') local ok, err = pcall(git.root, '.') return { ok, err.code }";
    let world = World::new(&link(source), |_| Say::Bad(moonlog_core::event::StepOutcome::Error, "command_not_found"));
    assert_eq!(world.result(), r#"[false,"command_not_found"]"#);
}

#[test]
fn what_is_not_there_is_said_with_its_line() {
    for source in ["\nreturn require('nothing')", "\nreturn require('os')"] {
        let error = error(&link(source));
        assert_eq!(error.code, "script_error");
        assert!(error.message.contains("test:2: require: there is no module"), "{}", error.message);
        assert!(error.message.contains("agents, findings, git, markdown, sources, web"), "{}", error.message);
    }
    assert_eq!(eval("return require == nil"), "true", "who requires nothing has none");
}

#[test]
fn a_script_keeps_the_module_that_it_was_stored_with() {
    let stored =
        "local m = require('markdown')\nreturn m.old\n\n--[=[moonlog module: markdown\nreturn { old = 1 }\n]=]\n";
    assert_eq!(link(stored), stored);
    assert_eq!(World::new(stored, |_| Say::Ok("null")).result(), "1");
    let broken = "return require('markdown')\n\n--[=[moonlog module: markdown\nreturn {\n]=]\n";
    let problems = check("x", broken).unwrap_err();
    assert!(problems[0].message.contains("module markdown: line 1"), "{problems:?}");
}

/// Each would take minutes with a pattern that begins anew at each place: the limit of computing ends it then.
#[test]
fn pages_that_are_made_to_be_slow_are_not() {
    for part in
        ["<a", "<!--", "<title", "<script>", "<head><title", "&#", "\\f", "\\n \\t", "href='", "href=\\\"&u", "<p>"]
    {
        let source = format!(
            "local web, markdown = require('web'), require('markdown')
            local page = string.rep(\"{part}\", 500000) .. 'x'
            web.read_html(page) web.addresses(page, 'https://x.example')
            markdown.plain_lines(page:sub(1, 200000)) markdown.block(page:sub(1, 200000)) markdown.trim(page)
            return true"
        );
        assert_eq!(linked(&source).result(), "true", "{part}");
    }
}

#[test]
fn texts_are_cut_between_characters_and_cannot_break_out() {
    let cases = [
        ("markdown.cut('aé', 2)", r#""a…""#),
        ("markdown.cut('aé', 3)", r#""aé""#),
        ("markdown.slice('€uro €', 2, 8)", r#""uro ""#),
        ("markdown.tail('one\\ntwo\\nthree', 7)", r#""…\nthree""#),
        ("markdown.plain('<b>*x*|`')", r#""\\<b\\>\\*x\\*\\|\\`""#),
        ("markdown.code('a`b')", r#""`a'b`""#),
        ("markdown.block('```\\nx', 'sh')", r#""````sh\n```\nx\n````""#),
        ("markdown.plain_lines('```\\n# <b>')", r#""```\n# <b>\n```""#),
        ("markdown.plain_lines('~~~~\\n```\\n~~~~\\n <b>')", r#""~~~~\n```\n~~~~\n \\<b>""#),
        ("markdown.plain_lines('# x\\n<i>y')", r#""\\# x\n\\<i>y""#),
        ("markdown.deeper('x\\n# a\\n```\\n# b\\n```', 2)", r#""x\n### a\n```\n# b\n```""#),
        ("web.encode('a b/é')", r#""a%20b%2F%C3%A9""#),
        (
            "web.read_html('<title>T &amp; U</title><p>a&nbsp;b<script>x</script><p>&#8364;&#x41;&bogus;')",
            r#""a b\n€A&bogus;""#,
        ),
        ("web.read_html('<script>never closed')", r#""""#),
        (
            "web.addresses('[\"q\",[\"https://a.example/x#y\",\"no\"],[\"https://s.example/self\"]]', 'https://s.example/?q=')",
            r#"["https://a.example/x"]"#,
        ),
        (
            "{web.is_private('127.0.0.1:80'), web.is_private('0x7f.1'), web.is_private('[::1]'), web.is_private('localhost'),
              web.is_private('%31.example'), web.is_private('printer'), web.is_private('１.example'),
              web.is_private(web.host('http://127.0.0.1\\\\@example.com/'))}",
            "[true,true,true,true,true,true,true,true]",
        ),
        ("{web.is_private('example.com:8080'), web.is_private('a.b-c.org.'), web.host('https://u:p@Example.com:1/x')}", r#"[false,false,"example.com:1"]"#),
        ("#agents.quote('T', '~~~~ x'):match('~~~~~+')", "5"),
        (
            "findings.same({file='./a',line=1,title='free is called twice'},{file='a',line=3,title='Free called twice here'})",
            "true",
        ),
        (
            "findings.same({file='a',line=1,title='free is called twice'},{file='a',line=90,title='read is ignored'})",
            "false",
        ),
    ];
    for (expression, expected) in cases {
        let names = module_names();
        let required: Vec<String> = names.iter().map(|name| format!("local {name} = require('{name}')\n")).collect();
        assert_eq!(linked(&format!("{}return ({expression})", required.concat())).result(), expected, "{expression}");
    }
}

#[test]
fn modules_beside_a_workflow_win_and_are_read_again_when_they_change() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, source: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, source).unwrap();
    };
    write("hello.luau", "local words = require('words')\nreturn { description = words.hello, run = function() end }");
    let library = Library::new(vec![folder.path().into()]);
    let description = || library.get("hello").and_then(|workflow| workflow.description.clone());
    assert_eq!(library.broken("hello").unwrap().problems[0].line, Some(1), "the module is not there yet");
    write("modules/words.luau", "return { hello = require('markdown').mark .. '!' }");
    write("modules/markdown.lua", "return { mark = 'mine' }");
    assert_eq!(description().as_deref(), Some("mine!"));
    let stored = library.get("hello").unwrap().source.clone();
    write("modules/markdown.lua", "return { mark = 'other' }");
    assert_eq!(description().as_deref(), Some("other!"));
    assert!(
        stored.contains("'mine'") && World::new(&stored, |_| Say::Ok("null")).run(&[]).is_ok(),
        "what was stored stays"
    );
    write("modules/words.luau", "return {");
    let broken = library.broken("hello").unwrap();
    assert!(broken.problems[0].message.starts_with("module words: line 1"), "{broken:?}");
    assert!(!library.list().iter().any(|entry| entry.name() == "words"), "a module is no workflow");
}
