//! `search_files`: the lines of files that match a regular expression, found as ripgrep finds them.

use super::{
    Tool, ToolAnswer, ToolContext, ToolDefinition, ToolLimits,
    files::Files,
    input,
    list_files::{glob_schema, matches, path_glob, shown_below},
    place::Last,
    stored::{self, Unusable},
    walk::{Walk, Wanted},
};
use futures_util::future::BoxFuture;
use grep::{
    regex::{RegexMatcher, RegexMatcherBuilder},
    searcher::{BinaryDetection, Searcher, SearcherBuilder, Sink, SinkContext, SinkContextKind, SinkMatch},
};
use moonlog_core::error_info::ErrorInfo;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{io, path::PathBuf, sync::Arc, time::Duration};

const NAME: &str = "search_files";
const LINE_MARKER: &str = " ... [truncated]";
/// How large a compiled pattern may be.
const PATTERN_MAX_BYTES: usize = 10 << 20;

/// See the module.
pub(super) struct SearchFiles(pub Arc<Files>);

#[derive(Deserialize)]
struct Input {
    pattern: String,
    #[serde(default = "here")]
    path: String,
    glob: Option<String>,
    #[serde(default)]
    literal: bool,
    #[serde(default)]
    ignore_case: bool,
    #[serde(default)]
    context: usize,
    limit: Option<usize>,
    #[serde(default)]
    hidden: bool,
    #[serde(default)]
    ignored: bool,
}

fn here() -> String {
    ".".into()
}

/// A line that matches.
#[derive(Debug, Serialize)]
struct Match {
    path: String,
    line: u64,
    text: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    before: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    after: Vec<String>,
}

impl Tool for SearchFiles {
    fn definition(&self) -> ToolDefinition {
        let description = format!(
            "Find lines by a regular expression (Rust's syntax, line by line, without look-around) in the files of a folder, or \
             in one file. Binary files, hidden files and what .gitignore names are left out. At most {} matching lines.",
            self.0.limits().search_max_matches
        );
        let properties = json!({
            "pattern": { "type": "string", "minLength": 1, "maxLength": 1_000, "description": "What to look for." },
            "path": { "type": "string", "minLength": 1, "description": "The folder or file. Default: the workspace." },
            "glob": glob_schema("Only files whose path from the folder matches, such as \"src/**/*.rs\" or \"*.md\"."),
            "literal": { "type": "boolean", "description": "The pattern is plain text." },
            "ignore_case": { "type": "boolean", "description": "Upper and lower case are the same." },
            "context": { "type": "integer", "minimum": 0, "maximum": 10, "description": "Lines around each match." },
            "limit": { "type": "integer", "minimum": 1, "description": "How many matching lines at most." },
            "hidden": { "type": "boolean", "description": "Also files that begin with a dot." },
            "ignored": { "type": "boolean", "description": "Also files that .gitignore names." },
        });
        ToolDefinition::new(NAME, &description, properties, &["pattern"])
    }

    fn call<'a>(&'a self, context: &'a ToolContext, input: Value) -> BoxFuture<'a, Result<ToolAnswer, ErrorInfo>> {
        Box::pin(async move {
            let input: Input = input::read(input)?;
            let roots = self.0.roots(context);
            self.0.blocking(move |files| search(files, &roots, &input)).await
        })
    }
}

fn search(files: &Files, roots: &[PathBuf], input: &Input) -> Result<ToolAnswer, ErrorInfo> {
    let place = files.find(roots, NAME, &input.path, Last::Follow)?;
    std::fs::metadata(place.absolute()).map_err(|error| files.unusable(&place, Unusable::Io(error)))?;
    let glob = input.glob.as_deref().map(path_glob).transpose()?;
    let matcher = compile(input)?;
    let limits = files.limits();
    let wanted = Wanted {
        hidden: input.hidden,
        ignored: input.ignored,
        depth: None,
        at_most: Duration::from_millis(limits.search_max_ms),
    };
    let mut searcher = SearcherBuilder::new()
        .binary_detection(BinaryDetection::quit(0))
        .before_context(input.context)
        .after_context(input.context)
        .build();
    let limit = input.limit.unwrap_or(usize::MAX).min(limits.search_max_matches);
    let mut found = Found::new(limits, limit);
    let mut searched = 0_u64;
    let start = place.absolute();
    let mut walk = Walk::of(&place, wanted);
    while !found.full {
        let Some(entry) = walk.next() else { break };
        let Ok(from_start) = entry.path().strip_prefix(&start) else { continue };
        let is_file = entry.file_type().is_some_and(|kind| kind.is_file());
        let named = if from_start.as_os_str().is_empty() { entry.path() } else { from_start };
        if !is_file || glob.as_ref().is_some_and(|glob| !matches(glob, named)) {
            continue;
        }
        found.path = shown_below(&place, from_start);
        found.before.clear();
        searched += 1;
        // What cannot be read is passed over. It is opened through no link and without waiting, as it may be something else
        // by now.
        let searched = match stored::open_file(&place.below(from_start)) {
            Ok((file, _)) => searcher.search_file(&matcher, &file, &mut found),
            Err(why) => {
                tracing::debug!(path = %found.path, ?why, "not searched");
                continue;
            }
        };
        if let Err(error) = searched {
            tracing::debug!(path = %found.path, %error, "not searched");
        }
    }
    let (full, late) = (found.full, walk.late);
    let truncated = (full || late).then(|| json!({ "shown": found.matches.len(), "time_up": late }));
    let note = match (truncated.is_some(), found.matches.is_empty()) {
        (true, _) => Some("there may be more matches: narrow it by pattern, path or glob".to_owned()),
        (false, true) => Some(format!("no line of {searched} files matches")),
        (false, false) => None,
    };
    let mut output = json!({ "matches": found.matches, "files_searched": searched });
    if let Some(truncated) = &truncated {
        output["truncated"] = truncated.clone();
    }
    if let Some(note) = note {
        output["note"] = note.into();
    }
    Ok(ToolAnswer::of(&output).truncated(truncated))
}

fn compile(input: &Input) -> Result<RegexMatcher, ErrorInfo> {
    let built = RegexMatcherBuilder::new()
        .case_insensitive(input.ignore_case)
        .fixed_strings(input.literal)
        .line_terminator(Some(b'\n'))
        .size_limit(PATTERN_MAX_BYTES)
        .build(&input.pattern);
    built.map_err(|error| {
        let message = format!(
            "`{}` is no pattern: {error}. For plain text set literal; lines are matched one by one",
            input.pattern
        );
        ErrorInfo::new("invalid_pattern", message)
    })
}

/// What was found so far.
struct Found<'a> {
    limits: &'a ToolLimits,
    limit: usize,
    path: String,
    matches: Vec<Match>,
    /// Lines before the next match.
    before: Vec<String>,
    bytes: usize,
    full: bool,
}

impl<'a> Found<'a> {
    fn new(limits: &'a ToolLimits, limit: usize) -> Self {
        Self { limits, limit, path: String::new(), matches: Vec::new(), before: Vec::new(), bytes: 0, full: false }
    }

    /// A line as it is shown.
    fn line(&mut self, bytes: &[u8]) -> String {
        let text = String::from_utf8_lossy(bytes);
        let text = text.trim_end_matches(['\n', '\r']);
        let max = self.limits.line_max_bytes;
        let line = if text.len() > max {
            format!("{}{LINE_MARKER}", &text[..text.floor_char_boundary(max.saturating_sub(LINE_MARKER.len()))])
        } else {
            text.to_owned()
        };
        self.bytes += line.len();
        line
    }
}

impl Sink for Found<'_> {
    type Error = io::Error;

    fn matched(&mut self, _: &Searcher, matched: &SinkMatch<'_>) -> Result<bool, io::Error> {
        if self.matches.len() >= self.limit || self.bytes >= self.limits.read_max_bytes {
            self.full = true;
            return Ok(false);
        }
        let text = self.line(matched.bytes());
        self.matches.push(Match {
            path: self.path.clone(),
            line: matched.line_number().unwrap_or(0),
            text,
            before: std::mem::take(&mut self.before),
            after: Vec::new(),
        });
        Ok(true)
    }

    fn context(&mut self, _: &Searcher, context: &SinkContext<'_>) -> Result<bool, io::Error> {
        let line = self.line(context.bytes());
        match (context.kind(), self.matches.last_mut()) {
            (SinkContextKind::After, Some(last)) => last.after.push(line),
            _ => self.before.push(line),
        }
        Ok(true)
    }

    fn context_break(&mut self, _: &Searcher) -> Result<bool, io::Error> {
        self.before.clear();
        Ok(true)
    }
}
