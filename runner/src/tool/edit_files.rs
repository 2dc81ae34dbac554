//! `edit_files`: replacements in several files, all of them or none.

use super::{
    Tool, ToolAnswer, ToolContext, ToolDefinition, change,
    edit::{self, Edit},
    files::Files,
    input,
    place::{Last, Place},
    stored::{self, Staged, Stored},
    text::binary_kind,
};
use futures_util::future::BoxFuture;
use moonlog_core::error_info::ErrorInfo;
use serde::Deserialize;
use serde_json::{Value, json};
use std::{path::PathBuf, sync::Arc};

const NAME: &str = "edit_files";

/// See the module.
pub(super) struct EditFiles(pub Arc<Files>);

#[derive(Deserialize)]
struct Input {
    edits: Vec<OneEdit>,
}

#[derive(Deserialize)]
struct OneEdit {
    path: String,
    old_text: String,
    new_text: String,
    #[serde(default)]
    replace_all: bool,
}

impl Tool for EditFiles {
    fn definition(&self) -> ToolDefinition {
        let description = "Replace parts of files. Each edit names a file, the text that is there now and what is to stand in \
                           its place; old_text must be in the file exactly once, unless replace_all is set, and is matched \
                           as it stands, whitespace included. Edits of one file apply in order. If one of them does not \
                           apply, no file is changed at all.";
        let properties = json!({
            "edits": {
                "type": "array",
                "minItems": 1,
                "maxItems": self.0.limits().edits_max,
                "items": {
                    "type": "object",
                    "properties": {
                        "path": { "type": "string", "minLength": 1, "description": "The file, relative to the workspace." },
                        "old_text": { "type": "string", "minLength": 1, "description": "What is there now." },
                        "new_text": { "type": "string", "description": "What is to stand there." },
                        "replace_all": { "type": "boolean", "description": "Replace it wherever it is. Default false." },
                    },
                    "required": ["path", "old_text", "new_text"],
                    "additionalProperties": false,
                },
            },
        });
        ToolDefinition::new(NAME, description, properties, &["edits"])
    }

    fn call<'a>(&'a self, context: &'a ToolContext, input: Value) -> BoxFuture<'a, Result<ToolAnswer, ErrorInfo>> {
        Box::pin(async move {
            let input: Input = input::read(input)?;
            let roots = self.0.roots(context);
            self.0.blocking(move |files| edit_all(files, &roots, &input.edits)).await
        })
    }
}

/// A file that edits name.
struct Edited {
    place: Place,
    stored: Stored,
    text: String,
    edits: usize,
    replaced: usize,
}

/// Why an edit does not apply, or its file cannot be edited.
struct Refused {
    code: String,
    message: String,
}

impl From<ErrorInfo> for Refused {
    fn from(error: ErrorInfo) -> Self {
        Self { code: error.code, message: error.message }
    }
}

fn edit_all(files: &Files, roots: &[PathBuf], edits: &[OneEdit]) -> Result<ToolAnswer, ErrorInfo> {
    let places: Vec<Result<Place, ErrorInfo>> =
        edits.iter().map(|edit| files.find(roots, NAME, &edit.path, Last::Follow)).collect();
    let known: Vec<Place> = places.iter().flatten().cloned().collect();
    let _turns = files.lock(&known);
    let mut edited: Vec<Edited> = Vec::new();
    let mut refused: Vec<(usize, Refused)> = Vec::new();
    for (at, (edit, place)) in edits.iter().zip(places).enumerate() {
        if let Err(why) = place.map_err(Refused::from).and_then(|place| edit_one(files, &mut edited, place, edit)) {
            refused.push((at, why));
        }
    }
    if !refused.is_empty() {
        return Err(nothing_changed(edits, &refused));
    }
    store(files, edited)
}

/// Applies an edit to what the edits before it made of the file.
fn edit_one(files: &Files, edited: &mut Vec<Edited>, place: Place, one: &OneEdit) -> Result<(), Refused> {
    let at = match edited.iter().position(|other| other.place == place) {
        Some(at) => at,
        None => {
            let (stored, text) = text_of(files, &place)?;
            edited.push(Edited { place, stored, text, edits: 0, replaced: 0 });
            edited.len() - 1
        }
    };
    let file = &mut edited[at];
    let edit = Edit { old_text: &one.old_text, new_text: &one.new_text, replace_all: one.replace_all };
    let (text, times) =
        edit::apply(&file.text, &edit).map_err(|fault| Refused { code: fault.code.into(), message: fault.message })?;
    let max = files.limits().write_max_bytes;
    if text.len() > max {
        let message = format!("it would have {} bytes; at most {max} are written (tools.write_max_bytes)", text.len());
        return Err(Refused { code: "too_large".into(), message });
    }
    file.text = text;
    file.edits += 1;
    file.replaced += times;
    Ok(())
}

fn text_of(files: &Files, place: &Place) -> Result<(Stored, String), ErrorInfo> {
    let read = stored::read(place, files.limits().write_max_bytes).map_err(|why| files.unusable(place, why))?;
    let stored = read.ok_or_else(|| files.missing(place))?;
    if let Some(kind) = binary_kind(&stored.bytes, true) {
        let message = format!("`{}` is a binary file ({kind}): it has no lines to edit", place.shown());
        return Err(ErrorInfo::new("binary_file", message));
    }
    let text = String::from_utf8(stored.bytes.clone()).map_err(|_| {
        ErrorInfo::new("binary_file", format!("`{}` is no UTF-8 text: change it with a command", place.shown()))
    })?;
    Ok((stored, text))
}

/// Stores all files: every one is staged before the first is put in its place.
fn store(files: &Files, edited: Vec<Edited>) -> Result<ToolAnswer, ErrorInfo> {
    // Edits that undo each other leave nothing to store.
    let changed = |file: &&Edited| file.text.as_bytes() != file.stored.bytes;
    let mut staged: Vec<(&Edited, Staged)> = Vec::new();
    for file in edited.iter().filter(changed) {
        let one = stored::stage(&file.place, file.text.as_bytes(), Some(&file.stored.metadata))
            .map_err(|error| files.unusable(&file.place, error.into()))?;
        staged.push((file, one));
    }
    if let Some((file, _)) = staged.iter().find(|(file, _)| !stored::is_unchanged(&file.place, &file.stored.metadata)) {
        let message = format!(
            "`{}` was changed by somebody else just now; nothing was changed: read it again",
            file.place.shown()
        );
        return Err(ErrorInfo::new("changed_meanwhile", message).retryable());
    }
    let mut done: Vec<&Edited> = Vec::new();
    for (file, one) in staged {
        if let Err(error) = one.commit() {
            put_back(&done);
            return Err(files.unusable(&file.place, error.into()));
        }
        done.push(file);
    }
    let limit = files.limits().diff_max_bytes;
    let changes = done
        .iter()
        .map(|file| change::of(&file.place.shown(), Some(&file.stored.bytes), Some(file.text.as_bytes()), limit))
        .collect();
    let shown: Vec<Value> = edited
        .iter()
        .map(|file| json!({ "path": file.place.shown(), "edits": file.edits, "replaced": file.replaced }))
        .collect();
    Ok(ToolAnswer::of(&json!({ "files": shown })).changed(changes))
}

/// What could not be brought to its end is undone. Where that fails too, the log says so: there is nobody else to tell.
fn put_back(done: &[&Edited]) {
    for file in done {
        let back = stored::stage(&file.place, &file.stored.bytes, Some(&file.stored.metadata)).and_then(Staged::commit);
        if let Err(error) = back {
            tracing::error!(path = %file.place.shown(), %error, "an edit that failed in part could not be undone");
        }
    }
}

fn nothing_changed(edits: &[OneEdit], refused: &[(usize, Refused)]) -> ErrorInfo {
    let told: Vec<String> =
        refused.iter().map(|(at, why)| format!("edits[{at}] ({}): {}", edits[*at].path, why.message)).collect();
    let code = refused.first().map_or("no_match", |(_, why)| why.code.as_str());
    let details: Vec<Value> = refused
        .iter()
        .map(|(at, why)| json!({ "edit": at, "path": edits[*at].path, "code": why.code, "message": why.message }))
        .collect();
    ErrorInfo::new(code, format!("nothing was changed: {}", told.join("; ")))
        .with_details(json!({ "edits": details }).into())
}
