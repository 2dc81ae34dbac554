//! A script's source, from a file or from standard input.

use crate::cli::failure::Failure;
use moonlog_scripts::link_beside;
use serde_json::{Value, json};
use std::{io::Read, path::Path};

/// Reads `path`, with the modules that it requires; `-` is standard input.
pub fn read(path: &Path) -> Result<String, Failure> {
    let bytes = if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        std::fs::read(path)
    };
    let bytes = bytes.map_err(|error| Failure::file("read", path, &error))?;
    let source =
        String::from_utf8(bytes).map_err(|_| Failure::usage(format!("{} is no text in UTF-8", path.display())))?;
    if path == Path::new("-") {
        return Ok(source);
    }
    // They stand beside the file, where the server need not be.
    Ok(link_beside(&source, path.parent().unwrap_or(path)).source)
}

/// A file as the `script` of a request.
pub fn as_script(path: &Path) -> Result<Value, Failure> {
    Ok(json!({ "source": read(path)?, "name": stem(path) }))
}

/// The file's name without its extension, by which the script goes.
pub fn stem(path: &Path) -> String {
    match path.file_stem() {
        Some(stem) if path != Path::new("-") => stem.to_string_lossy().into_owned(),
        _ => "stdin".to_owned(),
    }
}
