//! Dynamic values: JSON kept as its text, so that storing, reading and sending one never parses it.
//!
//! The text is canonical: compact, on one line, keys sorted, each key once. So equal values are equal texts, and a
//! value can stand in a line of a feed.

use crate::codec::{Decode, Encode};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};
use serde_json::value::RawValue;
use std::fmt;

/// A JSON value as canonical text.
#[derive(Clone, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Json(Box<str>);

impl Json {
    /// JSON's `null`.
    pub fn null() -> Self {
        Self("null".into())
    }

    /// The JSON form of `value`. A value that has none (a map with keys that are no texts) becomes `null`;
    /// moonlog's own types all have one.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Self {
        serde_json::to_string(value).map_or_else(|_| Self::null(), |text| Self(text.into()))
    }

    /// Reads a text from outside, and brings it into canonical form.
    ///
    /// # Errors
    /// What is wrong with the text, and where.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str::<serde_json::Value>(text).map(Self::from)
    }

    /// Keeps a text that is canonical already, because a writer of ours has just made it.
    pub fn from_written(text: String) -> Self {
        debug_assert!(serde_json::from_str::<&RawValue>(&text).is_ok(), "not JSON: {text}");
        Self(text.into())
    }

    /// Reads a field that is there, for `deserialize_with`: `null` is a value, and an absent field is none.
    ///
    /// # Errors
    /// As the deserializer.
    pub fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error> {
        Self::deserialize(deserializer).map(Some)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is `null`.
    pub fn is_null(&self) -> bool {
        &*self.0 == "null"
    }

    /// The value as a tree.
    pub fn to_value(&self) -> serde_json::Value {
        self.to().unwrap_or(serde_json::Value::Null)
    }

    /// The value as a `T`.
    ///
    /// # Errors
    /// Where the value is no `T`.
    pub fn to<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(&self.0)
    }
}

impl Default for Json {
    fn default() -> Self {
        Self::null()
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<serde_json::Value> for Json {
    fn from(mut value: serde_json::Value) -> Self {
        // A dependency may have switched serde_json to maps that keep the order of insertion.
        value.sort_all_objects();
        Self(value.to_string().into())
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serde_json::from_str::<&RawValue>(&self.0) {
            Ok(raw) => raw.serialize(serializer),
            Err(error) => Err(serde::ser::Error::custom(error)),
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde_json::Value::deserialize(deserializer).map(Self::from)
    }
}
