//! Durations in inputs: seconds, or texts such as `"250ms"`, `"90s"`, `"5m"`, `"2h"`.

use serde::Deserialize;
use serde_json::{Value, json};

/// A duration as an input gives it.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Duration {
    Seconds(f64),
    Text(String),
}

impl Duration {
    /// In milliseconds. What the schema lets through is one.
    pub fn ms(&self) -> u64 {
        match self {
            Self::Seconds(seconds) => (seconds * 1_000.0).ceil() as u64,
            Self::Text(text) => {
                let at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
                let (number, unit) = text.split_at(at);
                let unit_ms = match unit.trim() {
                    "ms" => 1.0,
                    "m" => 60_000.0,
                    "h" => 3_600_000.0,
                    _ => 1_000.0,
                };
                (number.trim().parse::<f64>().unwrap_or(0.0) * unit_ms).ceil() as u64
            }
        }
    }
}

/// The schema of a duration.
pub(super) fn schema(description: &str) -> Value {
    json!({
        "description": description,
        "anyOf": [
            { "type": "number", "minimum": 0 },
            { "type": "string", "pattern": r"^\s*[0-9]+(\.[0-9]+)?\s*(ms|s|m|h)?\s*$" },
        ],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_seconds_or_carry_their_unit() {
        for (given, ms) in [
            (json!(0), 0),
            (json!(1.5), 1_500),
            (json!("250ms"), 250),
            (json!("90s"), 90_000),
            (json!("1.5m"), 90_000),
            (json!("2h"), 7_200_000),
            (json!(" 3 "), 3_000),
        ] {
            let validator = jsonschema::validator_for(&schema("")).unwrap();
            assert!(validator.is_valid(&given), "{given}");
            assert_eq!(serde_json::from_value::<Duration>(given.clone()).unwrap().ms(), ms, "{given}");
        }
        for wrong in [json!("soon"), json!(-1), json!("5d"), json!(""), json!([])] {
            assert!(!jsonschema::validator_for(&schema("")).unwrap().is_valid(&wrong), "{wrong}");
        }
    }
}
