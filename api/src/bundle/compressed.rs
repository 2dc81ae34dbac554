//! Bundles that are compressed, as retention writes them: told by how they begin.

use flate2::bufread::MultiGzDecoder;
use std::io::{self, BufRead, BufReader, Read};

const GZIP: [u8; 2] = [0x1f, 0x8b];
/// The largest bundle that a command reads, when it is unpacked, in bytes.
const UNPACKED_MAX_BYTES: u64 = 4 << 30;

/// What `input` holds, unpacked where it is compressed.
///
/// # Errors
/// Where it cannot be read.
pub fn unpacked<'a>(mut input: impl BufRead + 'a) -> io::Result<Box<dyn BufRead + 'a>> {
    if !input.fill_buf()?.starts_with(&GZIP) {
        return Ok(Box::new(input));
    }
    Ok(Box::new(BufReader::new(MultiGzDecoder::new(input).take(UNPACKED_MAX_BYTES))))
}
