//! The stored form of values. The only file that knows bincode.
//!
//! bincode writes fields in their order with no names, so a stored type is frozen: a change is a new type with a new
//! schema number and a conversion from the old one. Decoding checks that every byte was used, and bounds what it
//! allocates.

pub use bincode::{Decode, Encode};

/// The longest stored value, in bytes. Larger data goes to blobs long before.
const DECODE_LIMIT_BYTES: usize = 16 << 20;

/// A value that cannot be stored or read back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The value cannot be encoded.
    #[error("cannot encode: {0}")]
    Encode(String),
    /// The bytes are no such value.
    #[error("cannot decode: {0}")]
    Decode(String),
    /// Bytes were left over.
    #[error("cannot decode: {0} bytes left over")]
    TrailingBytes(usize),
    /// A newer version wrote it.
    #[error("event type code {code} with schema {schema} is unknown: a newer moonlog wrote it")]
    UnknownType {
        /// The stored type.
        code: u16,
        /// Its stored schema number.
        schema: u8,
    },
    /// No type has this name.
    #[error("no event type is named `{0}`")]
    UnknownName(String),
    /// JSON that is not what the type carries.
    #[error("data of {name}: {message}")]
    Json {
        /// The type.
        name: &'static str,
        /// What is wrong.
        message: String,
    },
}

/// The stored form of `value`.
///
/// # Errors
/// Where it has none.
pub fn encode<T: Encode>(value: &T) -> Result<Vec<u8>, CodecError> {
    let mut bytes = Vec::new();
    encode_behind(&mut bytes, value)?;
    Ok(bytes)
}

/// Writes the stored form of `value` behind what `out` holds.
///
/// # Errors
/// Where it has none. Some bytes may have been written then.
pub fn encode_behind<T: Encode>(out: &mut Vec<u8>, value: &T) -> Result<(), CodecError> {
    match bincode::encode_into_std_write(value, out, bincode::config::standard()) {
        Ok(_) => Ok(()),
        Err(error) => Err(CodecError::Encode(error.to_string())),
    }
}

/// Reads a stored value. All of `bytes` must be used.
///
/// # Errors
/// Where the bytes are no `T`, or more than one.
pub fn decode<T: Decode<()>>(bytes: &[u8]) -> Result<T, CodecError> {
    match decode_prefix(bytes)? {
        (value, used) if used == bytes.len() => Ok(value),
        (_, used) => Err(CodecError::TrailingBytes(bytes.len() - used)),
    }
}

/// Reads the stored value that `bytes` begin with, and how many bytes it took.
///
/// # Errors
/// Where the bytes do not begin with a `T`.
pub fn decode_prefix<T: Decode<()>>(bytes: &[u8]) -> Result<(T, usize), CodecError> {
    let config = bincode::config::standard().with_limit::<DECODE_LIMIT_BYTES>();
    bincode::decode_from_slice(bytes, config).map_err(|error| CodecError::Decode(error.to_string()))
}
