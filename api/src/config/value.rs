//! The values that keys can have, and their reading from TOML and from text.

use serde_json::json;
use std::net::{Ipv4Addr, SocketAddr};
use toml::de::DeValue;

/// What a key's value must be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    /// Any text.
    Text,
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// An address with a port.
    Address,
    /// A whole number from the first to the second, both included. Its unit stands at the end of the key.
    Whole(u64, u64),
    /// A number that is not negative.
    Number,
    /// A list of texts.
    Texts,
}

/// A key's value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Text(String),
    Address(SocketAddr),
    Whole(u64),
    Number(f64),
    Texts(Vec<String>),
}

impl Kind {
    /// What is expected, for error messages.
    pub(super) fn expected(self) -> String {
        match self {
            Self::Text => "a text".into(),
            Self::OneOf(texts) => format!("one of {}", texts.join(", ")),
            Self::Address => "an address with a port, such as 127.0.0.1:7070".into(),
            Self::Whole(min, u64::MAX) => format!("a whole number of at least {min}"),
            Self::Whole(min, max) => format!("a whole number from {min} to {max}"),
            Self::Number => "a number that is not negative".into(),
            Self::Texts => "a list of texts".into(),
        }
    }

    /// Reads a value of this kind from TOML; `Err` says what was found instead.
    pub(super) fn read(self, value: &DeValue<'_>) -> Result<Value, String> {
        match (self, value) {
            (Self::Text | Self::OneOf(_) | Self::Address, DeValue::String(text)) => self.text(text),
            (Self::Whole(min, max), DeValue::Integer(number)) => {
                let digits: String = number.as_str().chars().filter(|c| *c != '_').collect();
                match u64::from_str_radix(&digits, number.radix()) {
                    Ok(whole) if (min..=max).contains(&whole) => Ok(Value::Whole(whole)),
                    _ => Err(number.to_string()),
                }
            }
            (Self::Number, DeValue::Integer(number)) => self.parse(number.as_str()),
            (Self::Number, DeValue::Float(number)) => self.parse(number.as_str()),
            (Self::Texts, DeValue::Array(items)) => items
                .iter()
                .map(|item| match item.get_ref() {
                    DeValue::String(text) => Ok(text.to_string()),
                    other => Err(format!("a list with {}", describe(other))),
                })
                .collect::<Result<_, _>>()
                .map(Value::Texts),
            (_, other) => Err(describe(other)),
        }
    }

    /// Reads a value of this kind from an environment variable or a flag. Lists are separated by commas, or stand
    /// in brackets as in the file.
    pub(super) fn parse(self, text: &str) -> Result<Value, String> {
        let found = || format!("`{}`", text.chars().take(80).collect::<String>());
        match self {
            Self::Text | Self::OneOf(_) | Self::Address => self.text(text),
            Self::Whole(min, max) => match text.trim().replace('_', "").parse::<u64>() {
                Ok(whole) if (min..=max).contains(&whole) => Ok(Value::Whole(whole)),
                _ => Err(found()),
            },
            Self::Number => match text.trim().replace('_', "").parse::<f64>() {
                Ok(number) if number.is_finite() && number >= 0.0 => Ok(Value::Number(number)),
                _ => Err(found()),
            },
            Self::Texts if text.trim_start().starts_with('[') => {
                serde_json::from_str(text).map(Value::Texts).map_err(|_| found())
            }
            Self::Texts => {
                Ok(Value::Texts(text.split(',').map(str::trim).filter(|t| !t.is_empty()).map(Into::into).collect()))
            }
        }
    }

    fn text(self, text: &str) -> Result<Value, String> {
        let found = || format!("`{}`", text.chars().take(80).collect::<String>());
        match self {
            Self::OneOf(texts) if !texts.contains(&text) => Err(found()),
            Self::Address => match text.strip_prefix("localhost:") {
                Some(port) => port
                    .parse::<u16>()
                    .map(|port| Value::Address(SocketAddr::from((Ipv4Addr::LOCALHOST, port))))
                    .map_err(|_| found()),
                None => text.parse().map(Value::Address).map_err(|_| found()),
            },
            _ => Ok(Value::Text(text.into())),
        }
    }
}

impl Value {
    /// The value as `moonlog config --json` shows it.
    pub(super) fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Text(text) => json!(text),
            Self::Address(address) => json!(address.to_string()),
            Self::Whole(number) => json!(number),
            Self::Number(number) => json!(number),
            Self::Texts(texts) => json!(texts),
        }
    }
}

pub(super) fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the text `{}`", text.chars().take(80).collect::<String>()),
        DeValue::Integer(number) => format!("the number {number}"),
        DeValue::Float(number) => format!("the number {number}"),
        DeValue::Boolean(value) => format!("{value}"),
        DeValue::Datetime(time) => format!("the time {time}"),
        DeValue::Array(_) => "a list".into(),
        DeValue::Table(_) => "a table".into(),
    }
}
