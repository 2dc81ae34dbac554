//! Query parameters: each once, each known.

use super::problem::{FieldError, Problem};
use percent_encoding::percent_decode_str;
use std::{str::FromStr, time::Duration};

/// The parameters of a request.
#[derive(Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads the text behind the `?`.
    ///
    /// # Errors
    /// 400 for names that are not in `known`, names that occur twice, and text that is not UTF-8.
    pub fn read(text: &str, known: &[&str]) -> Result<Self, Problem> {
        let mut parameters: Vec<(String, String)> = Vec::new();
        let mut errors = Vec::new();
        for part in text.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let (Some(name), Some(value)) = (decode(name), decode(value)) else {
                errors.push(FieldError::new(part, "is not UTF-8"));
                continue;
            };
            if !known.contains(&name.as_str()) {
                let takes = if known.is_empty() { "nothing".into() } else { known.join(", ") };
                errors.push(FieldError::new(name, format!("is no known parameter: this takes {takes}")));
            } else if parameters.iter().any(|(other, _)| *other == name) {
                errors.push(FieldError::new(name, "is given twice"));
            } else {
                parameters.push((name, value));
            }
        }
        if errors.is_empty() { Ok(Self(parameters)) } else { Err(problem(errors)) }
    }

    /// A parameter's text; `None` where it is absent or empty.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str()).filter(|v| !v.is_empty())
    }

    /// Whether a parameter is there, be it empty.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    /// A parameter that has a form of its own.
    ///
    /// # Errors
    /// 400
    pub fn parsed<T: FromStr<Err: std::fmt::Display>>(&self, name: &str) -> Result<Option<T>, Problem> {
        self.text(name).map(str::parse).transpose().map_err(|error| invalid(name, error))
    }

    /// A whole number of at least `min`, cut to `max`.
    ///
    /// # Errors
    /// 400
    pub fn whole(&self, name: &str, min: u64, max: u64) -> Result<Option<u64>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match text.parse::<u64>() {
            Ok(number) if number >= min => Ok(Some(number.min(max))),
            _ => Err(invalid(name, format!("must be a whole number of at least {min}, and is `{}`", short(text)))),
        }
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// 400
    pub fn boolean(&self, name: &str) -> Result<Option<bool>, Problem> {
        match self.text(name) {
            None => Ok(self.has(name).then_some(true)),
            Some("true" | "1") => Ok(Some(true)),
            Some("false" | "0") => Ok(Some(false)),
            Some(other) => Err(invalid(name, format!("must be true or false, and is `{}`", short(other)))),
        }
    }

    /// How long to wait: `30s`, `500ms`, `2m`, a number of seconds, or `true` for as long as is allowed. Cut to `max`.
    ///
    /// # Errors
    /// 400
    pub fn wait(&self, max: Duration) -> Result<Option<Duration>, Problem> {
        match self.text("wait") {
            None => Ok(self.has("wait").then_some(max)),
            Some("true") => Ok(Some(max)),
            Some("false") => Ok(None),
            Some(text) => match duration(text) {
                Some(wait) => Ok(Some(wait.min(max))),
                None => Err(invalid(
                    "wait",
                    format!("must be a duration such as 30s, 500ms or 2m, and is `{}`", short(text)),
                )),
            },
        }
    }
}

/// 400 for a parameter.
pub fn invalid(name: &str, message: impl std::fmt::Display) -> Problem {
    problem(vec![FieldError::new(name, message.to_string())])
}

fn problem(errors: Vec<FieldError>) -> Problem {
    let named: Vec<String> = errors.iter().take(5).map(|e| format!("`{}` {}", e.path, e.message)).collect();
    Problem::bad_request("invalid_query", named.join("; ")).errors(errors)
}

fn short(text: &str) -> String {
    text.chars().take(80).collect()
}

fn decode(text: &str) -> Option<String> {
    let spaced = if text.contains('+') { text.replace('+', " ").into() } else { std::borrow::Cow::Borrowed(text) };
    percent_decode_str(&spaced).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

fn duration(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit_ms = match &text[digits.len()..] {
        "ms" => 1.0,
        "" | "s" => 1_000.0,
        "m" => 60_000.0,
        "h" => 3_600_000.0,
        _ => return None,
    };
    let count: f64 = digits.parse().ok().filter(|n: &f64| n.is_finite() && *n >= 0.0)?;
    Some(Duration::from_millis((count * unit_ms).min(1e12) as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        let table = [
            ("30s", Some(30_000)),
            ("500ms", Some(500)),
            ("2m", Some(120_000)),
            ("1.5", Some(1_500)),
            ("0", Some(0)),
            ("9999h", Some(35_996_400_000)),
            ("-1s", None),
            ("s", None),
            ("1d", None),
            ("NaN", None),
            ("1 s", None),
        ];
        for (text, expected) in table {
            assert_eq!(duration(text).map(|d| d.as_millis()), expected, "{text}");
        }
    }

    #[test]
    fn names_must_be_known_and_come_once() {
        let query = Query::read("a=1&b=x%20y+z&&c", &["a", "b", "c"]).unwrap();
        assert_eq!((query.text("a"), query.text("b"), query.has("c")), (Some("1"), Some("x y z"), true));
        for bad in ["d=1", "a=1&a=2", "a=%FF"] {
            assert!(Query::read(bad, &["a"]).is_err(), "{bad}");
        }
    }
}
