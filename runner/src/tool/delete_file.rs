//! `delete_file`: a file, or a link and not what it leads to.

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
use std::{fs, os::unix::ffi::OsStrExt, path::PathBuf, sync::Arc};

const NAME: &str = "delete_file";

/// See the module.
pub(super) struct DeleteFile(pub Arc<Files>);

#[derive(Deserialize)]
struct Input {
    path: String,
}

impl Tool for DeleteFile {
    fn definition(&self) -> ToolDefinition {
        let properties = json!({
            "path": { "type": "string", "minLength": 1, "description": "The file, relative to the workspace." },
        });
        let description = "Delete a file. Of a symbolic link, the link is deleted. Folders are not deleted.";
        ToolDefinition::new(NAME, description, properties, &["path"])
    }

    fn call<'a>(&'a self, context: &'a ToolContext, input: Value) -> BoxFuture<'a, Result<ToolAnswer, ErrorInfo>> {
        Box::pin(async move {
            let input: Input = input::read(input)?;
            let roots = self.0.roots(context);
            self.0.blocking(move |files| delete(files, &roots, &input.path)).await
        })
    }
}

fn delete(files: &Files, roots: &[PathBuf], path: &str) -> Result<ToolAnswer, ErrorInfo> {
    let place = files.find(roots, NAME, path, Last::Keep)?;
    let unusable = |why| files.unusable(&place, why);
    let _turn = files.lock(std::slice::from_ref(&place));
    let metadata = fs::symlink_metadata(place.absolute()).map_err(|error| unusable(error.into()))?;
    if metadata.is_dir() {
        let shown = place.shown();
        let message = format!("`{shown}` is a folder, and only files are deleted: use execute with rmdir or rm -r");
        return Err(ErrorInfo::new("is_a_folder", message));
    }
    let limits = files.limits();
    let shown = place.shown();
    let change = if metadata.is_symlink() {
        let target = fs::read_link(place.absolute()).map_err(|error| unusable(error.into()))?;
        change::of(&shown, Some(target.as_os_str().as_bytes()), None, limits.diff_max_bytes)
    } else {
        match stored::read(&place, limits.write_max_bytes) {
            Ok(Some(stored)) => change::of(&shown, Some(&stored.bytes), None, limits.diff_max_bytes),
            Ok(None) => return Err(files.missing(&place)),
            Err(Unusable::TooLarge { bytes }) => change::of_unread_deletion(&shown, bytes),
            Err(why) => return Err(unusable(why)),
        }
    };
    stored::remove(&place).map_err(|error| unusable(error.into()))?;
    let output = json!({ "path": shown, "deleted": true, "size_bytes": metadata.len() });
    Ok(ToolAnswer::of(&output).changed(vec![change]))
}
