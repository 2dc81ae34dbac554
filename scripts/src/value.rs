//! Values across the border: Luau to canonical JSON text, and back.
//!
//! To JSON: a table with keys 1 to n is an array, one with text keys an object, an empty one an object unless it is
//! marked as an array (as all that came from JSON arrays are). A table whose `n` counts its items is an array of `n`
//! with null in the holes, and a marked one has null in its holes too. What JSON cannot say is refused, naming its path. From JSON: null is nil (an absent key, a
//! hole in an array with `n`) for what operations return, and `json.null` for `json.decode`. Numbers are doubles.

use mlua::{Lua, Table, Value};
use moonlog_core::json::Json;
use std::fmt::Write;

/// Deeper values are refused; JSON parsers stop at 128.
const DEPTH_MAX: usize = 100;

/// The tables that tell special values.
pub(crate) struct Marks {
    /// `json.null`
    pub null: Table,
    /// The metatable of arrays.
    pub array: Table,
    /// The metatable of errors.
    pub error: Table,
}

/// A value that cannot cross the border.
#[derive(Debug, PartialEq)]
pub(crate) struct BadValue {
    /// `invalid_value` or `limit_value`.
    pub code: &'static str,
    /// Where and why.
    pub message: String,
}

/// How null is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nulls {
    /// As nil.
    Nil,
    /// As `json.null`.
    Marked,
}

struct Writer<'a> {
    out: String,
    marks: &'a Marks,
    limit_bytes: usize,
    path: String,
    parents: Vec<usize>,
}

/// The JSON form of `value`, which messages call `what`.
pub(crate) fn to_json(value: &Value, what: &str, marks: &Marks, limit_bytes: usize) -> Result<Json, BadValue> {
    let mut writer = Writer { out: String::new(), marks, limit_bytes, path: what.to_owned(), parents: Vec::new() };
    writer.value(value)?;
    Ok(Json::from_written(writer.out))
}

impl Writer<'_> {
    fn bad(&self, why: impl std::fmt::Display) -> BadValue {
        BadValue { code: "invalid_value", message: format!("{} {why}", self.path) }
    }

    fn too_large(&self) -> BadValue {
        let limit = self.limit_bytes;
        BadValue { code: "limit_value", message: format!("{} is larger than {limit} bytes as JSON", self.path) }
    }

    fn check_size(&self) -> Result<(), BadValue> {
        if self.out.len() > self.limit_bytes {
            let root = self.path.split(['.', '[']).next().unwrap_or_default().to_owned();
            return Err(Writer { path: root, out: String::new(), parents: Vec::new(), ..*self }.too_large());
        }
        Ok(())
    }

    fn value(&mut self, value: &Value) -> Result<(), BadValue> {
        match value {
            Value::Nil => self.out.push_str("null"),
            Value::Boolean(true) => self.out.push_str("true"),
            Value::Boolean(false) => self.out.push_str("false"),
            Value::Integer(number) => self.number(*number as f64)?,
            Value::Number(number) => self.number(*number)?,
            Value::String(text) => self.string(&text.as_bytes())?,
            Value::Table(table) => self.table(table)?,
            other => return Err(self.bad(format_args!("is a {}, which JSON cannot hold", other.type_name()))),
        }
        self.check_size()
    }

    fn number(&mut self, number: f64) -> Result<(), BadValue> {
        const EXACT: f64 = 9_007_199_254_740_992.0;
        if !number.is_finite() {
            return Err(self.bad(format_args!("is {number}, which JSON cannot hold")));
        }
        if number.fract() == 0.0 && number.abs() <= EXACT {
            // Also turns -0 into 0.
            let _ = write!(self.out, "{}", number as i64);
        } else {
            self.out.push_str(&serde_json::to_string(&number).unwrap_or_default());
        }
        Ok(())
    }

    fn string(&mut self, bytes: &[u8]) -> Result<(), BadValue> {
        if bytes.len() > self.limit_bytes {
            return Err(self.too_large());
        }
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Err(self.bad("is a string that is not valid UTF-8, which JSON cannot hold"));
        };
        quote(&mut self.out, text);
        Ok(())
    }

    fn table(&mut self, table: &Table) -> Result<(), BadValue> {
        let pointer = table.to_pointer() as usize;
        if pointer == self.marks.null.to_pointer() as usize {
            self.out.push_str("null");
            return Ok(());
        }
        if self.parents.contains(&pointer) {
            return Err(self.bad("contains itself (a cycle), which JSON cannot hold"));
        }
        if self.parents.len() >= DEPTH_MAX {
            return Err(self.bad(format_args!("is nested more than {DEPTH_MAX} levels deep")));
        }
        self.parents.push(pointer);
        let depth = self.path.len();
        match self.shape(table)? {
            Shape::Array(len) => self.array(table, len)?,
            Shape::Object(keys) => self.object(table, keys)?,
        }
        self.path.truncate(depth);
        self.parents.pop();
        Ok(())
    }

    fn shape(&self, table: &Table) -> Result<Shape, BadValue> {
        let marked = table.metatable().is_some_and(|mt| mt.to_pointer() == self.marks.array.to_pointer());
        let (mut indexes, mut largest, mut keys, mut other) = (0_usize, 0_usize, Vec::new(), None);
        let mut key_bytes = 0;
        let walked = table.for_each(|key: Value, _: Value| {
            match key {
                Value::Integer(index) if (1..=1 << 40).contains(&index) => {
                    indexes += 1;
                    largest = largest.max(index as usize);
                }
                Value::String(text) => match text.to_str() {
                    Ok(text) => {
                        key_bytes += text.len() + 4;
                        keys.push(text.to_string());
                    }
                    Err(_) => other = Some("a key that is not valid UTF-8".to_owned()),
                },
                Value::Integer(index) => other = Some(format!("the key [{index}]")),
                Value::Number(number) => other = Some(format!("the key [{number}]")),
                key => other = Some(format!("a key that is a {}", key.type_name())),
            }
            if key_bytes.max(2 * indexes) > self.limit_bytes {
                return Err(mlua::Error::runtime("too large"));
            }
            Ok(())
        });
        if walked.is_err() {
            return Err(self.too_large());
        }
        if let Some(other) = other {
            return Err(self.bad(format_args!("has {other}, which JSON cannot hold")));
        }
        let counted = matches!(keys.as_slice(), [n] if n == "n") && (marked || indexes > 0);
        if counted {
            let n = table.raw_get::<f64>("n").unwrap_or(-1.0);
            if n.fract() == 0.0 && n >= largest as f64 && 2.0 * n < self.limit_bytes as f64 {
                return Ok(Shape::Array(n as usize));
            }
        }
        match (indexes, keys.len()) {
            (0, 0) if marked => Ok(Shape::Array(0)),
            (0, _) => {
                keys.sort_unstable();
                Ok(Shape::Object(keys))
            }
            (_, 0) if indexes == largest => Ok(Shape::Array(largest)),
            // Such as the errors of a `parallel`, whose branches did not all fail.
            (_, 0) if marked && largest < self.limit_bytes / 2 => Ok(Shape::Array(largest)),
            (_, 0) => {
                let hole = (1..).find(|index| table.raw_get::<Value>(*index).is_ok_and(|value| value.is_nil()));
                let hole = hole.unwrap_or(1);
                Err(self.bad(format_args!(
                    "is an array with a hole at [{hole}]: fill it with json.null, or give its length as `n`"
                )))
            }
            _ => {
                keys.sort_unstable();
                let key = &keys[0];
                Err(self.bad(format_args!("mixes indexes with the key `{key}`, which JSON cannot hold")))
            }
        }
    }

    fn array(&mut self, table: &Table, len: usize) -> Result<(), BadValue> {
        let depth = self.path.len();
        self.out.push('[');
        for index in 1..=len {
            if index > 1 {
                self.out.push(',');
            }
            let value: Value = table.raw_get(index).map_err(|error| self.bad(error))?;
            if matches!(value, Value::Table(_)) || !is_plain(&value) {
                let _ = write!(self.path, "[{index}]");
                self.value(&value)?;
                self.path.truncate(depth);
            } else {
                self.plain_at(&value, index)?;
            }
        }
        self.out.push(']');
        Ok(())
    }

    fn object(&mut self, table: &Table, keys: Vec<String>) -> Result<(), BadValue> {
        let depth = self.path.len();
        self.out.push('{');
        let mut first = true;
        for key in keys {
            let value: Value = table.raw_get(key.as_str()).map_err(|error| self.bad(error))?;
            if !std::mem::take(&mut first) {
                self.out.push(',');
            }
            quote(&mut self.out, &key);
            self.out.push(':');
            self.path.push('.');
            self.path.push_str(&key);
            self.value(&value)?;
            self.path.truncate(depth);
        }
        self.out.push('}');
        Ok(())
    }

    /// A value without parts, whose path is spelled out only where it is refused.
    fn plain_at(&mut self, value: &Value, index: usize) -> Result<(), BadValue> {
        let depth = self.path.len();
        let result = self.value(value);
        if result.is_err() && self.out.len() <= self.limit_bytes {
            let _ = write!(self.path, "[{index}]");
            let result = self.value(value);
            self.path.truncate(depth);
            return result;
        }
        result
    }
}

enum Shape {
    Array(usize),
    Object(Vec<String>),
}

const fn is_plain(value: &Value) -> bool {
    matches!(value, Value::Nil | Value::Boolean(_) | Value::Integer(_) | Value::Number(_) | Value::String(_))
}

fn quote(out: &mut String, text: &str) {
    if text.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&serde_json::to_string(text).unwrap_or_default());
    }
}

/// The Luau form of a JSON text.
pub(crate) fn from_json(lua: &Lua, text: &str, marks: &Marks, nulls: Nulls) -> mlua::Result<Value> {
    match text.as_bytes() {
        b"null" if nulls == Nulls::Nil => return Ok(Value::Nil),
        b"true" => return Ok(Value::Boolean(true)),
        b"false" => return Ok(Value::Boolean(false)),
        _ => {}
    }
    let tree: serde_json::Value = serde_json::from_str(text).map_err(mlua::Error::external)?;
    tree_to_lua(lua, &tree, marks, nulls)
}

pub(crate) fn tree_to_lua(lua: &Lua, tree: &serde_json::Value, marks: &Marks, nulls: Nulls) -> mlua::Result<Value> {
    use serde_json::Value as Tree;
    Ok(match tree {
        Tree::Null if nulls == Nulls::Nil => Value::Nil,
        Tree::Null => Value::Table(marks.null.clone()),
        Tree::Bool(value) => Value::Boolean(*value),
        Tree::Number(number) => Value::Number(number.as_f64().unwrap_or_default()),
        Tree::String(text) => Value::String(lua.create_string(text)?),
        Tree::Array(items) => {
            let table = lua.create_table_with_capacity(items.len(), 0)?;
            for (index, item) in items.iter().enumerate() {
                if !(item.is_null() && nulls == Nulls::Nil) {
                    table.raw_set(index + 1, tree_to_lua(lua, item, marks, nulls)?)?;
                }
            }
            if nulls == Nulls::Nil && items.iter().any(Tree::is_null) {
                table.raw_set("n", items.len())?;
            }
            table.set_metatable(Some(marks.array.clone()))?;
            Value::Table(table)
        }
        Tree::Object(fields) => {
            let table = lua.create_table_with_capacity(0, fields.len())?;
            for (key, value) in fields {
                table.raw_set(key.as_str(), tree_to_lua(lua, value, marks, nulls)?)?;
            }
            Value::Table(table)
        }
    })
}
