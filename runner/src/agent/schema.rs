//! Answers that have to match a JSON Schema. Pure.

use super::repair::unfenced;
use jsonschema::Validator;
use moonlog_core::{error_info::ErrorInfo, json::Json};
use serde_json::{Deserializer, Value};

/// How many complaints a model is told of at once.
const COMPLAINTS: usize = 8;

/// A schema that answers must match.
pub(super) struct AnswerSchema {
    schema: Json,
    validator: Validator,
}

impl AnswerSchema {
    /// Takes a schema.
    ///
    /// # Errors
    /// `invalid_schema`, where it is none.
    pub(super) fn new(schema: &Json) -> Result<Self, ErrorInfo> {
        let invalid = |why: String| ErrorInfo::new("invalid_schema", format!("agent: schema is no JSON Schema: {why}"));
        let value = schema.to_value();
        if !matches!(value, Value::Object(_) | Value::Bool(_)) {
            return Err(invalid("a table is expected".into()));
        }
        let validator = jsonschema::validator_for(&value).map_err(|error| invalid(error.to_string()))?;
        Ok(Self { schema: schema.clone(), validator })
    }

    /// The schema.
    pub(super) const fn schema(&self) -> &Json {
        &self.schema
    }

    /// What the model is told at the start.
    pub(super) fn instructions(&self) -> String {
        format!(
            "Answer with one JSON value that matches this JSON Schema, and with nothing else, no fence and no remark:\n{}",
            self.schema
        )
    }

    /// The value that an answer gives.
    ///
    /// # Errors
    /// What the model is to be told.
    pub(super) fn read(&self, answer: &str) -> Result<Json, String> {
        let Some(value) = value_in(answer) else {
            return Err(
                "Your answer is no JSON. Answer with one JSON value that matches the schema, and nothing else.".into(),
            );
        };
        let complaints: Vec<String> = self
            .validator
            .iter_errors(&value)
            .take(COMPLAINTS)
            .map(|error| {
                let at = error.instance_path().to_string();
                format!("- at {}: {error}", if at.is_empty() { "the top" } else { at.as_str() })
            })
            .collect();
        if complaints.is_empty() {
            return Ok(Json::from(value));
        }
        let list = complaints.join("\n");
        Err(format!(
            "Your answer does not match the schema:\n{list}\nAnswer again, with the corrected JSON value alone."
        ))
    }
}

/// The value that an answer holds: all of it, what stands in its fence, or the first value within it.
fn value_in(answer: &str) -> Option<Value> {
    let text = unfenced(answer);
    if let Ok(value) = serde_json::from_str(text) {
        return Some(value);
    }
    let fenced = answer.split_once("```").map(|(_, rest)| unfenced_at(rest));
    let starts = text.char_indices().filter(|(_, c)| matches!(c, '{' | '[')).map(|(at, _)| &text[at..]).take(64);
    fenced.into_iter().chain(starts).find_map(|from| Deserializer::from_str(from).into_iter::<Value>().next()?.ok())
}

/// What stands in a fence whose first marks are gone already.
fn unfenced_at(rest: &str) -> &str {
    let inner = rest.split_once('\n').map_or(rest, |(_, inner)| inner);
    inner.split_once("```").map_or(inner, |(inner, _)| inner).trim()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_value_is_found_and_checked() {
        let schema = json!({ "type": "object", "properties": { "n": { "type": "integer" } }, "required": ["n"] });
        let schema = AnswerSchema::new(&Json::from(schema)).unwrap();
        for answer in [
            "{\"n\": 1}",
            "```json\n{\"n\": 1}\n```",
            "Here it is:\n```\n{\"n\": 1}\n```\nDone.",
            "The answer is {\"n\": 1}, as asked.",
        ] {
            assert_eq!(schema.read(answer).map(|value| value.to_string()), Ok("{\"n\":1}".into()), "{answer}");
        }
        assert!(schema.read("{\"n\": \"x\"}").unwrap_err().contains("/n"));
        assert!(schema.read("{}").unwrap_err().contains("required"));
        assert!(schema.read("one").unwrap_err().contains("no JSON"));
        assert_eq!(AnswerSchema::new(&Json::from(json!({ "type": "nonsense" }))).err().unwrap().code, "invalid_schema");
    }
}
