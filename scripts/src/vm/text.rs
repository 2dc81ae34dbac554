//! Text functions that Luau itself can neither do in linear time nor be interrupted in.

use memchr::memmem;
use mlua::{Lua, LuaString, Table, Value};

/// Plain `string.find`: 1-based first and last index, or nil.
pub(super) fn find(
    _: &Lua,
    (text, pattern, init): (LuaString, LuaString, Option<f64>),
) -> mlua::Result<(Value, Value)> {
    let text = text.as_bytes();
    let pattern = pattern.as_bytes();
    let init = init.unwrap_or(1.0);
    let start = if init < 0.0 { (text.len() as f64 + init).max(0.0) } else { (init - 1.0).max(0.0) };
    if start > text.len() as f64 {
        return Ok((Value::Nil, Value::Nil));
    }
    let start = start as usize;
    Ok(match memmem::find(&text[start..], &pattern) {
        Some(at) => {
            let first = start + at + 1;
            (Value::Number(first as f64), Value::Number((first + pattern.len() - 1) as f64))
        }
        None => (Value::Nil, Value::Nil),
    })
}

/// `string.split` with a separator of at least one byte.
pub(super) fn split(lua: &Lua, (text, separator): (LuaString, LuaString)) -> mlua::Result<Table> {
    let text = text.as_bytes();
    let separator = separator.as_bytes();
    let parts = lua.create_table()?;
    let (mut start, mut index) = (0, 1);
    if !separator.is_empty() {
        for at in memmem::find_iter(&text, &*separator) {
            parts.raw_seti(index, lua.create_string(&text[start..at])?)?;
            start = at + separator.len();
            index += 1;
        }
    }
    parts.raw_seti(index, lua.create_string(&text[start..])?)?;
    Ok(parts)
}
