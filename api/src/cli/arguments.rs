//! A job's arguments, from `--args` and `--arg`, typed by what the workflow's schema says.

use super::failure::Failure;
use serde_json::{Map, Value};
use std::path::Path;

/// The arguments, `None` where none were given.
pub fn read(args: Option<&str>, pairs: &[String], schema: Option<&Value>) -> Result<Option<Value>, Failure> {
    if args.is_none() && pairs.is_empty() {
        return Ok(None);
    }
    let mut object = args.map(base).transpose()?.unwrap_or_default();
    let mut listed: Vec<&str> = Vec::new();
    for pair in pairs {
        let Some((key, text)) = pair.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            return Err(Failure::usage(format!("--arg takes KEY=VALUE, not `{pair}`")));
        };
        let schema = schema.and_then(|schema| schema.get("properties")?.get(key));
        if is_list_item(schema, text) {
            if !listed.contains(&key) {
                listed.push(key);
                object.insert(key.to_owned(), Value::Array(Vec::new()));
            }
            let item = typed(key, text, schema.and_then(|schema| schema.get("items")))?;
            if let Some(Value::Array(items)) = object.get_mut(key) {
                items.push(item);
            }
        } else {
            object.insert(key.to_owned(), typed(key, text, schema)?);
        }
    }
    Ok(Some(Value::Object(object)))
}

/// `--args`: JSON, or `@FILE`.
fn base(text: &str) -> Result<Map<String, Value>, Failure> {
    let text = match text.strip_prefix('@') {
        Some(path) => std::fs::read_to_string(path).map_err(|error| Failure::file("read", Path::new(path), &error))?,
        None => text.to_owned(),
    };
    match serde_json::from_str(&text) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(Failure::usage("--args takes a JSON object, such as '{\"path\": \".\"}'")),
        Err(error) => Err(Failure::usage(format!("--args is no JSON: {error}"))
            .hint("such as --args '{\"path\": \".\"}', or --arg path=. for each")),
    }
}

fn types(schema: Option<&Value>) -> Vec<&str> {
    match schema.and_then(|schema| schema.get("type")) {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// Whether `text` is one item of a list, and not a list by itself.
fn is_list_item(schema: Option<&Value>, text: &str) -> bool {
    types(schema).contains(&"array") && !matches!(serde_json::from_str(text), Ok(Value::Array(_)))
}

fn typed(key: &str, text: &str, schema: Option<&Value>) -> Result<Value, Failure> {
    let types = types(schema);
    if types.is_empty() || types.contains(&"string") {
        return Ok(Value::String(text.to_owned()));
    }
    let wrong = || Failure::usage(format!("--arg {key}: `{text}` is no {}", types.join(" or ")));
    let value: Value = serde_json::from_str(text).map_err(|_| wrong())?;
    let fits = types.iter().any(|&name| match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        "number" => value.is_number(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => true,
    });
    if fits { Ok(value) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn schema() -> Value {
        json!({"type": "object", "properties": {
            "path": {"type": "string"}, "top": {"type": "integer"}, "deep": {"type": "boolean"},
            "names": {"type": "array", "items": {"type": "string"}}, "sizes": {"type": "array", "items": {"type": "number"}},
            "either": {"type": ["integer", "null"]}, "free": {"description": "no type"},
        }})
    }

    #[test]
    fn values_take_their_type_from_the_schema() {
        let cases: [(&[&str], Value); 9] = [
            (&["path=7"], json!({"path": "7"})),
            (&["path=a=b"], json!({"path": "a=b"})),
            (&["top=7", "deep=true"], json!({"top": 7, "deep": true})),
            (&["names=a", "names=b"], json!({"names": ["a", "b"]})),
            (&["names=[\"a\"]"], json!({"names": ["a"]})),
            (&["sizes=1.5"], json!({"sizes": [1.5]})),
            (&["either=null"], json!({"either": null})),
            (&["free=1"], json!({"free": "1"})),
            (&["unknown=1"], json!({"unknown": "1"})),
        ];
        for (pairs, expected) in cases {
            let pairs: Vec<String> = pairs.iter().map(|&pair| pair.into()).collect();
            assert_eq!(read(None, &pairs, Some(&schema())).unwrap(), Some(expected), "{pairs:?}");
        }
    }

    #[test]
    fn single_arguments_win_over_the_object() {
        let args = read(
            Some(r#"{"path": "x", "names": ["z"], "other": 1}"#),
            &["path=y".into(), "names=a".into()],
            Some(&schema()),
        );
        assert_eq!(args.unwrap(), Some(json!({"path": "y", "names": ["a"], "other": 1})));
        assert_eq!(read(None, &[], None).unwrap(), None);
    }

    #[test]
    fn what_does_not_fit_is_a_usage_error() {
        for (args, pair) in [
            (None, "top=x"),
            (None, "top=1.5"),
            (None, "deep=yes"),
            (None, "=1"),
            (None, "path"),
            (Some("[1]"), "path=x"),
            (Some("{"), "path=x"),
            (Some("@/no/such/file"), "path=x"),
        ] {
            let failure = read(args, &[pair.into()], Some(&schema())).unwrap_err();
            assert_eq!(failure.status, crate::cli::failure::Status::Usage, "{args:?} {pair}");
        }
    }
}
