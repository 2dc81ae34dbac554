//! What tools say when they refuse: for a model, that cannot look anything up.

use crate::place::Place;
use serde_json::json;
use std::fmt::Write;

#[tokio::test]
async fn errors_say_what_was_wrong_and_what_exists_instead() {
    let place = Place::start().await;
    place.write("src/main.rs", "fn main() {}\n");
    place.write("docs/guide.md", "# Guide\n");
    place.write("image.png", b"\x89PNG\r\n\0");
    let mut told = String::new();
    for (tool, input) in [
        ("read_fiel", json!({})),
        ("deploy", json!({})),
        ("read_file", json!({})),
        ("read_file", json!({ "path": 7, "lines": 3 })),
        ("read_file", json!({ "path": "src/mian.rs" })),
        ("read_file", json!({ "path": "guide.md" })),
        ("read_file", json!({ "path": "nothing/like/it" })),
        ("read_file", json!({ "path": "src" })),
        ("read_file", json!({ "path": "../main.rs" })),
        ("read_file", json!({ "path": "src/main.rs", "offset": 9 })),
        ("write_file", json!({ "path": "src/main.rs/x", "content": "" })),
        ("edit_files", json!({ "edits": [{ "path": "image.png", "old_text": "a", "new_text": "b" }] })),
        ("edit_files", json!({ "edits": [] })),
        ("delete_file", json!({ "path": "src" })),
        ("delete_file", json!({ "path": "src/mian.rs" })),
        ("list_files", json!({ "path": "src/main.rs" })),
        ("list_files", json!({ "glob": "[" })),
        ("search_files", json!({ "pattern": "(" })),
        ("execute", json!({ "command": "ls", "workdir": "nowhere" })),
        ("execute", json!({ "command": "ls", "timeout": "soon" })),
        ("execute", json!({ "command": "sleep 5" })),
        ("process_output", json!({ "process_id": "x" })),
        ("process_signal", json!({ "process_id": "x", "signal": "SIGHUP" })),
    ] {
        let error = place.error(tool, input.clone()).await;
        writeln!(told, "{tool} {input}\n    {error}").unwrap();
    }
    insta::assert_snapshot!(told);
}

#[tokio::test]
async fn every_tool_has_a_schema_that_refuses_what_it_does_not_know() {
    let place = Place::start().await;
    let definitions = place.tools().definitions();
    let names: Vec<&str> = definitions.iter().map(|definition| definition.name.as_str()).collect();
    for name in [
        "create_workspace",
        "delete_file",
        "edit_files",
        "execute",
        "list_files",
        "process_list",
        "process_output",
        "process_signal",
        "read_file",
        "search_files",
        "write_file",
    ] {
        assert!(names.contains(&name), "{name} is missing: {names:?}");
    }
    assert!(names.is_sorted());
    for definition in definitions {
        assert_eq!(definition.input_schema["additionalProperties"], false, "{}", definition.name);
        assert!(!definition.description.is_empty());
        let error = place.error(&definition.name, json!({ "no_such_field": 1 })).await;
        assert!(error.starts_with("invalid_input") && error.contains("no_such_field"), "{error}");
    }
}

#[tokio::test]
async fn a_tool_that_is_added_is_called_like_the_others() {
    use futures_util::future::BoxFuture;
    use moonlog_core::error_info::ErrorInfo;
    use moonlog_runner::tool::{Tool, ToolAnswer, ToolContext, ToolDefinition};

    struct Shout;
    impl Tool for Shout {
        fn definition(&self) -> ToolDefinition {
            ToolDefinition::new("shout", "Shouts.", json!({ "text": { "type": "string" } }), &["text"])
        }
        fn call<'a>(
            &'a self,
            _: &'a ToolContext,
            input: serde_json::Value,
        ) -> BoxFuture<'a, Result<ToolAnswer, ErrorInfo>> {
            Box::pin(async move {
                let text = input["text"].as_str().unwrap().to_uppercase();
                assert!(text != "PANIC", "as it was told to");
                Ok(ToolAnswer::of(&text))
            })
        }
    }
    let place = Place::start().await;
    place.tools().register(std::sync::Arc::new(Shout));
    assert_eq!(place.ok("shout", json!({ "text": "hi" })).await, "HI");
    assert!(place.error("shout", json!({})).await.starts_with("invalid_input"));
    assert!(place.error("shout", json!({ "text": "panic" })).await.starts_with("internal"));
    place.tools().unregister("shout");
    assert!(place.error("shout", json!({ "text": "hi" })).await.starts_with("unknown_tool"));
}
