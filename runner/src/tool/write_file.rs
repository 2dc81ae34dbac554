//! `write_file`: a file's whole content.

use super::{
    Tool, ToolAnswer, ToolContext, ToolDefinition, change,
    files::Files,
    input,
    place::Last,
    stored::{self, Unusable},
};
use futures_util::future::BoxFuture;
use moonlog_core::error_info::ErrorInfo;
use serde::Deserialize;
use serde_json::{Value, json};
use std::{path::PathBuf, sync::Arc};

const NAME: &str = "write_file";

/// See the module.
pub(super) struct WriteFile(pub Arc<Files>);

#[derive(Deserialize)]
struct Input {
    path: String,
    content: String,
}

impl Tool for WriteFile {
    fn definition(&self) -> ToolDefinition {
        let description = format!(
            "Write a whole file: it is made, with its folders, or replaced; the mode of an existing one is kept. The write is \
             atomic. At most {} bytes. To change a part of a file, edit_files is the better tool.",
            self.0.limits().write_max_bytes
        );
        let properties = json!({
            "path": { "type": "string", "minLength": 1, "description": "The file, relative to the workspace." },
            "content": { "type": "string", "description": "All that it will hold." },
        });
        ToolDefinition::new(NAME, &description, properties, &["path", "content"])
    }

    fn call<'a>(&'a self, context: &'a ToolContext, input: Value) -> BoxFuture<'a, Result<ToolAnswer, ErrorInfo>> {
        Box::pin(async move {
            let input: Input = input::read(input)?;
            let roots = self.0.roots(context);
            self.0.blocking(move |files| write(files, &roots, &input)).await
        })
    }
}

fn write(files: &Files, roots: &[PathBuf], input: &Input) -> Result<ToolAnswer, ErrorInfo> {
    let limits = files.limits();
    let content = input.content.as_bytes();
    if content.len() > limits.write_max_bytes {
        let (bytes, max) = (content.len(), limits.write_max_bytes);
        let message =
            format!("the content has {bytes} bytes; at most {max} are written at once (tools.write_max_bytes)");
        return Err(ErrorInfo::new("too_large", message));
    }
    let place = files.find(roots, NAME, &input.path, Last::Follow)?;
    let unusable = |why| files.unusable(&place, why);
    if place.name().is_none() {
        return Err(unusable(Unusable::Folder));
    }
    let _turn = files.lock(std::slice::from_ref(&place));
    let before = stored::read(&place, limits.write_max_bytes).map_err(unusable)?;
    let (bytes, metadata) = before.map(|stored| (stored.bytes, stored.metadata)).unzip();
    let shown = place.shown();
    if bytes.as_deref() == Some(content) {
        let output =
            json!({ "path": shown, "size_bytes": content.len(), "changed": false, "note": "it held this already" });
        return Ok(ToolAnswer::of(&output));
    }
    let staged = stored::stage(&place, content, metadata.as_ref()).map_err(|error| unusable(error.into()))?;
    staged.commit().map_err(|error| unusable(error.into()))?;
    let change = change::of(&shown, bytes.as_deref(), Some(content), limits.diff_max_bytes);
    let output =
        json!({ "path": shown, "size_bytes": content.len(), "changed": true, "created": change.op == "created" });
    Ok(ToolAnswer::of(&output).changed(vec![change]))
}
