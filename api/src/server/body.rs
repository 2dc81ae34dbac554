//! Request bodies: JSON objects, taken apart field by field, so that one pass finds everything that is wrong and names
//! where. `null` stands for absent.

use super::{
    problem::{FieldError, Problem},
    text_limits::{Text, TextLimits},
};
use moonlog_core::{json::Json, time::Timestamp};
use serde_json::{Map, Value};
use std::{ops::RangeInclusive, str::FromStr};

/// The fields of an object that are still to be taken.
#[derive(Debug, Default)]
pub struct Fields {
    path: String,
    fields: Map<String, Value>,
    errors: Vec<FieldError>,
    limits: TextLimits,
}

impl Fields {
    /// Reads a body. An empty one has no fields.
    ///
    /// # Errors
    /// 400 where it is no JSON (with line and column), or no object.
    pub fn read(body: &[u8], limits: TextLimits) -> Result<Self, Problem> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self { limits, ..Self::default() });
        }
        match serde_json::from_slice(body) {
            Ok(Value::Object(fields)) => Ok(Self { fields, limits, ..Self::default() }),
            Ok(other) => Err(Problem::bad_request(
                "invalid_request",
                format!("the body must be a JSON object, and is {}", kind(&other)),
            )),
            Err(error) => Err(Problem::bad_request("invalid_json", format!("the body is no JSON: {error}"))
                .with("line", error.line())
                .with("column", error.column())),
        }
    }

    /// The fields of the object that stood at `name`.
    pub fn inner(&self, name: &str, fields: Map<String, Value>) -> Self {
        Self { path: self.path_of(name), fields, errors: Vec::new(), limits: self.limits }
    }

    /// The limits of what is read.
    pub const fn limits(&self) -> &TextLimits {
        &self.limits
    }

    /// Takes over what was wrong with an object that has been read.
    pub fn take_errors(&mut self, mut inner: Self) {
        inner.refuse_rest();
        self.errors.append(&mut inner.errors);
    }

    /// Whether something was wrong with a field, or within it.
    pub fn failed(&self, name: &str) -> bool {
        let path = self.path_of(name);
        self.errors.iter().any(|error| error.path == path || error.path.starts_with(&format!("{path}.")))
    }

    /// All fields in canonical form: keys sorted, compact, whole numbers without a fraction or an exponent.
    pub fn canonical(&self) -> String {
        let mut fields = Value::Object(self.fields.clone());
        plain_numbers(&mut fields);
        fields.sort_all_objects();
        fields.to_string()
    }

    /// Whether a field is there.
    pub fn has(&self, name: &str) -> bool {
        self.fields.get(name).is_some_and(|value| !value.is_null())
    }

    /// Whether a field is there and `null`.
    pub fn is_null(&self, name: &str) -> bool {
        self.fields.get(name).is_some_and(Value::is_null)
    }

    /// A field, as it is.
    pub fn value(&mut self, name: &str) -> Option<Value> {
        self.fields.shift_remove(name).filter(|value| !value.is_null())
    }

    /// A field of any JSON; `null` where it is absent.
    pub fn json(&mut self, name: &str) -> Option<Json> {
        self.value(name).map(Json::from)
    }

    /// A text.
    pub fn text(&mut self, name: &str) -> Option<String> {
        match self.value(name)? {
            Value::String(text) => Some(text),
            other => self.wrong(name, "a text", &other),
        }
    }

    /// A text of at most `max_bytes` bytes that is not empty.
    pub fn short_text(&mut self, name: &str, max_bytes: usize) -> Option<String> {
        let text = self.text(name)?;
        if text.is_empty() || text.len() > max_bytes {
            self.error(name, format!("must have from 1 to {max_bytes} bytes, and has {}", text.len()));
            return None;
        }
        Some(text)
    }

    /// A text that is not empty, and no longer than such a text may be.
    pub fn limited(&mut self, name: &str, text: Text) -> Option<String> {
        let (max_bytes, key) = self.limits.max(text);
        let text = self.text(name)?;
        if text.is_empty() || text.len() > max_bytes {
            self.error(name, format!("must have from 1 to {max_bytes} bytes ({key}), and has {}", text.len()));
            return None;
        }
        Some(text)
    }

    /// A boolean.
    pub fn boolean(&mut self, name: &str) -> Option<bool> {
        match self.value(name)? {
            Value::Bool(value) => Some(value),
            other => self.wrong(name, "true or false", &other),
        }
    }

    /// A whole number within `range`.
    pub fn whole<T: TryFrom<i64> + Copy + Into<i64>>(&mut self, name: &str, range: RangeInclusive<T>) -> Option<T> {
        let value = self.value(name)?;
        let inside = |n: &T| {
            let n: i64 = (*n).into();
            ((*range.start()).into()..=(*range.end()).into()).contains(&n)
        };
        match value.as_i64().and_then(|n| T::try_from(n).ok()).filter(inside) {
            Some(number) => Some(number),
            None => {
                let (from, to): (i64, i64) = ((*range.start()).into(), (*range.end()).into());
                self.wrong(name, &format!("a whole number from {from} to {to}"), &value)
            }
        }
    }

    /// A number within `range`.
    pub fn number(&mut self, name: &str, range: RangeInclusive<f64>) -> Option<f64> {
        let value = self.value(name)?;
        match value.as_f64().filter(|n| range.contains(n)) {
            Some(number) => Some(number),
            None => self.wrong(name, &format!("a number from {} to {}", range.start(), range.end()), &value),
        }
    }

    /// A text that has a form of its own: an id, a time.
    pub fn parsed<T: FromStr<Err: std::fmt::Display>>(&mut self, name: &str) -> Option<T> {
        match self.text(name)?.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.error(name, format!("{error}"));
                None
            }
        }
    }

    /// A time.
    pub fn time(&mut self, name: &str) -> Option<Timestamp> {
        self.parsed(name)
    }

    /// An object; `read` takes its fields.
    pub fn object<T>(&mut self, name: &str, read: impl FnOnce(&mut Self) -> T) -> Option<T> {
        match self.value(name)? {
            Value::Object(fields) => {
                let mut inner = self.inner(name, fields);
                let value = read(&mut inner);
                self.take_errors(inner);
                Some(value)
            }
            other => self.wrong(name, "an object", &other),
        }
    }

    /// Every field that was not taken, by name.
    pub fn rest(&mut self) -> Map<String, Value> {
        std::mem::take(&mut self.fields)
    }

    /// Notes that a field is wrong.
    pub fn error(&mut self, name: &str, message: impl Into<String>) {
        let path = self.path_of(name);
        self.errors.push(FieldError::new(path, message));
    }

    /// Notes that a field is of the wrong kind.
    pub fn wrong<T>(&mut self, name: &str, expected: &str, found: &Value) -> Option<T> {
        self.error(name, format!("must be {expected}, and is {}", kind(found)));
        None
    }

    /// `value`, or the note that `name` is missing.
    pub fn required<T: Default>(&mut self, name: &str, value: Option<T>) -> T {
        value.unwrap_or_else(|| {
            // Where the field was there and wrong, that is what to say of it.
            if !self.failed(name) {
                self.error(name, "is missing");
            }
            T::default()
        })
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// 400 with everything that was wrong, fields that nobody took included.
    pub fn finish(mut self) -> Result<(), Problem> {
        self.refuse_rest();
        if self.errors.is_empty() {
            return Ok(());
        }
        let mut named: Vec<String> = self.errors.iter().map(|e| format!("`{}` {}", e.path, e.message)).collect();
        let more = named.len().saturating_sub(5);
        named.truncate(5);
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        Err(Problem::bad_request("invalid_request", named.join("; ") + &more).errors(self.errors))
    }

    fn refuse_rest(&mut self) {
        for name in std::mem::take(&mut self.fields).keys() {
            self.error(name, "is no known field");
        }
    }

    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }
}

/// `1.0` and `1e0` are `1`, as in RFC 8785.
fn plain_numbers(value: &mut Value) {
    /// Up to here every whole number is a double of its own.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Array(items) => items.iter_mut().for_each(plain_numbers),
        Value::Object(fields) => fields.values_mut().for_each(plain_numbers),
        Value::Number(number) => {
            if let Some(whole) = number.as_f64().filter(|n| number.is_f64() && n.fract() == 0.0 && n.abs() <= EXACT) {
                *value = Value::from(whole as i64);
            }
        }
        _ => {}
    }
}

/// What a value is, for messages.
pub fn kind(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) if text.chars().count() <= 40 => format!("the text `{text}`"),
        Value::String(_) => "a text".into(),
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "an object".into(),
    }
}
