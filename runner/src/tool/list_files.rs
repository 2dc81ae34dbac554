//! `list_files`: what a folder has.

use super::{
    Tool, ToolAnswer, ToolContext, ToolDefinition,
    files::Files,
    input,
    place::{Last, Place},
    stored::Unusable,
    walk::{Walk, Wanted},
};
use futures_util::future::BoxFuture;
use globset::{GlobBuilder, GlobMatcher};
use moonlog_core::error_info::ErrorInfo;
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

const NAME: &str = "list_files";

/// See the module.
pub(super) struct ListFiles(pub Arc<Files>);

#[derive(Deserialize)]
struct Input {
    #[serde(default = "here")]
    path: String,
    glob: Option<String>,
    depth: Option<usize>,
    limit: Option<usize>,
    #[serde(default)]
    hidden: bool,
    #[serde(default)]
    ignored: bool,
}

fn here() -> String {
    ".".into()
}

impl Tool for ListFiles {
    fn definition(&self) -> ToolDefinition {
        let description = format!(
            "List the files of a folder and of the folders in it, as paths from the workspace; folders end in `/`. Hidden files \
             and what .gitignore names are left out. At most {} paths: narrow it by path, glob or depth.",
            self.0.limits().list_max
        );
        let properties = json!({
            "path": { "type": "string", "minLength": 1, "description": "The folder. Default: the workspace." },
            "glob": glob_schema("Files whose path from the folder matches, such as \"**/*.rs\"; one without a slash matches names."),
            "depth": { "type": "integer", "minimum": 1, "description": "How many levels. Default: all." },
            "limit": { "type": "integer", "minimum": 1, "description": "How many paths at most." },
            "hidden": { "type": "boolean", "description": "Also what begins with a dot." },
            "ignored": { "type": "boolean", "description": "Also what .gitignore names." },
        });
        ToolDefinition::new(NAME, &description, properties, &[])
    }

    fn call<'a>(&'a self, context: &'a ToolContext, input: Value) -> BoxFuture<'a, Result<ToolAnswer, ErrorInfo>> {
        Box::pin(async move {
            let input: Input = input::read(input)?;
            let roots = self.0.roots(context);
            self.0.blocking(move |files| list(files, &roots, &input)).await
        })
    }
}

fn list(files: &Files, roots: &[PathBuf], input: &Input) -> Result<ToolAnswer, ErrorInfo> {
    let place = files.find(roots, NAME, &input.path, Last::Follow)?;
    folder(files, &place)?;
    let glob = input.glob.as_deref().map(path_glob).transpose()?;
    let limit = input.limit.unwrap_or(usize::MAX).min(files.limits().list_max);
    let wanted = Wanted {
        hidden: input.hidden,
        ignored: input.ignored,
        depth: input.depth,
        at_most: Duration::from_millis(files.limits().search_max_ms),
    };
    let start = place.absolute();
    let (mut paths, mut more) = (Vec::new(), 0_usize);
    let mut walk = Walk::of(&place, wanted);
    for entry in walk.by_ref().filter(|entry| entry.depth() > 0) {
        let is_folder = entry.file_type().is_some_and(|kind| kind.is_dir());
        let Ok(from_start) = entry.path().strip_prefix(&start) else { continue };
        if glob.as_ref().is_some_and(|glob| is_folder || !matches(glob, from_start)) {
            continue;
        }
        if paths.len() < limit {
            paths.push(format!("{}{}", shown_below(&place, from_start), if is_folder { "/" } else { "" }));
        } else {
            more += 1;
        }
    }
    let truncated =
        (more > 0 || walk.late).then(|| json!({ "shown": paths.len(), "left_out": more, "time_up": walk.late }));
    let note = match (truncated.is_some(), paths.is_empty()) {
        (true, _) => Some("not all paths are shown: narrow it by path, glob or depth"),
        (false, true) => Some("nothing is there, or all of it is hidden or ignored: see the options"),
        (false, false) => None,
    };
    let mut output = json!({ "path": place.shown(), "files": paths });
    if let Some(truncated) = &truncated {
        output["truncated"] = truncated.clone();
    }
    if let Some(note) = note {
        output["note"] = note.into();
    }
    Ok(ToolAnswer::of(&output).truncated(truncated))
}

/// Refuses what is no folder.
pub(super) fn folder(files: &Files, place: &Place) -> Result<(), ErrorInfo> {
    let metadata = std::fs::metadata(place.absolute()).map_err(|error| files.unusable(place, Unusable::Io(error)))?;
    if metadata.is_dir() {
        return Ok(());
    }
    Err(ErrorInfo::new("not_a_folder", format!("`{}` is a file: read_file shows it", place.shown())))
}

/// A path below a place, as callers write it.
pub(super) fn shown_below(place: &Place, from_place: &Path) -> String {
    match place.shown().as_str() {
        "." => from_place.to_string_lossy().into_owned(),
        shown if from_place.as_os_str().is_empty() => shown.to_owned(),
        shown => format!("{shown}/{}", from_place.to_string_lossy()),
    }
}

pub(super) fn glob_schema(description: &str) -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": 500, "description": description })
}

/// A pattern of paths; without a slash, of names.
pub(super) fn path_glob(pattern: &str) -> Result<(GlobMatcher, bool), ErrorInfo> {
    let glob = GlobBuilder::new(pattern).literal_separator(true).build().map_err(|error| {
        ErrorInfo::new(
            "invalid_glob",
            format!("`{pattern}` is no pattern: {}; such as `**/*.rs` or `*.md`", error.kind()),
        )
    })?;
    Ok((glob.compile_matcher(), pattern.contains('/')))
}

/// Whether a path matches.
pub(super) fn matches((glob, of_path): &(GlobMatcher, bool), path: &Path) -> bool {
    if *of_path { glob.is_match(path) } else { path.file_name().is_some_and(|name| glob.is_match(Path::new(name))) }
}
