//! `read_file`: a part of a text file.

use super::{
    Tool, ToolAnswer, ToolContext, ToolDefinition,
    files::Files,
    input,
    place::{Last, Place},
    stored::{self, Unusable},
    text::binary_kind,
};
use futures_util::future::BoxFuture;
use moonlog_core::error_info::ErrorInfo;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader},
    sync::Arc,
};

const NAME: &str = "read_file";
const LINE_MARKER: &str = " ... [truncated]";

/// See the module.
pub(super) struct ReadFile(pub Arc<Files>);

#[derive(Deserialize)]
struct Input {
    path: String,
    #[serde(default = "first")]
    offset: u64,
    limit: Option<usize>,
}

const fn first() -> u64 {
    1
}

/// What a caller gets of a text file.
#[derive(Debug, Default, Serialize)]
struct Output {
    path: String,
    content: String,
    /// The first line of `content`, from 1.
    start_line: u64,
    /// How many lines `content` has.
    lines: u64,
    /// How many the file has.
    total_lines: u64,
    size_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    truncated: Option<Truncated>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// What was left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Truncated {
    /// Lines behind the last that is shown.
    #[serde(skip_serializing_if = "is_zero")]
    lines_left: u64,
    /// Lines that are shown in part.
    #[serde(skip_serializing_if = "is_zero")]
    lines_cut: u64,
    /// Where to go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_offset: Option<u64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Tool for ReadFile {
    fn definition(&self) -> ToolDefinition {
        let limits = self.0.limits();
        let description = format!(
            "Read a text file, or a part of it. `content` is the text as it stands, without line numbers. At most {} lines \
             and {} bytes at once: go on with `offset`. Lines over {} bytes are cut. Of a binary file only kind and size \
             are told.",
            limits.read_max_lines, limits.read_max_bytes, limits.line_max_bytes
        );
        let properties = json!({
            "path": { "type": "string", "minLength": 1, "description": "The file, relative to the workspace." },
            "offset": { "type": "integer", "minimum": 1, "description": "The first line, from 1. Default 1." },
            "limit": { "type": "integer", "minimum": 1, "description": "How many lines at most." },
        });
        ToolDefinition::new(NAME, &description, properties, &["path"])
    }

    fn call<'a>(&'a self, context: &'a ToolContext, input: Value) -> BoxFuture<'a, Result<ToolAnswer, ErrorInfo>> {
        Box::pin(async move {
            let input: Input = input::read(input)?;
            let roots = self.0.roots(context);
            let work = move |files: &Files| {
                let place = files.find(&roots, NAME, &input.path, Last::Follow)?;
                read(files, &place, &input).map_err(|why| files.unusable(&place, why))?
            };
            self.0.blocking(work).await
        })
    }
}

fn read(files: &Files, place: &Place, input: &Input) -> Result<Result<ToolAnswer, ErrorInfo>, Unusable> {
    let limits = files.limits();
    let (file, metadata) = stored::open_file(place)?;
    let mut reader = BufReader::with_capacity(64 << 10, file);
    let begins = reader.fill_buf()?;
    if let Some(kind) = binary_kind(begins, begins.len() as u64 >= metadata.len()) {
        let shown = place.shown();
        let bytes = metadata.len();
        let note = format!("`{shown}` is a binary file ({kind}, {bytes} bytes): its content is not shown");
        let output = json!({ "path": shown, "binary": true, "kind": kind, "size_bytes": bytes, "note": note });
        return Ok(Ok(ToolAnswer::of(&output)));
    }
    let lines_max = input.limit.map_or(limits.read_max_lines, |limit| limit.min(limits.read_max_lines)) as u64;
    let mut output =
        Output { path: place.shown(), start_line: input.offset, size_bytes: metadata.len(), ..Output::default() };
    let (mut cut, mut line, mut full) = (0, Vec::new(), false);
    loop {
        line.clear();
        // A line may be longer than memory: what is not shown is passed over.
        let Some(length) = next_line(&mut reader, &mut line, limits.line_max_bytes)? else { break };
        output.total_lines += 1;
        if output.total_lines < input.offset || full {
            continue;
        }
        let text = String::from_utf8_lossy(&line);
        let is_cut = length > limits.line_max_bytes;
        let shown = if is_cut { cut_line(&text, limits.line_max_bytes) } else { text.into_owned() };
        if output.lines >= lines_max || output.content.len() + shown.len() > limits.read_max_bytes {
            full = true;
            continue;
        }
        cut += u64::from(is_cut);
        output.content.push_str(&shown);
        output.lines += 1;
    }
    let next = input.offset + output.lines;
    let left = (output.total_lines + 1).saturating_sub(next);
    if input.offset > output.total_lines.max(1) {
        let message =
            format!("`{}` ends with line {}: there is no line {}", output.path, output.total_lines, input.offset);
        return Ok(Err(ErrorInfo::new("offset_beyond_end", message)));
    }
    if left > 0 || cut > 0 {
        let next_offset = (left > 0).then_some(next);
        output.truncated = Some(Truncated { lines_left: left, lines_cut: cut, next_offset });
        let go_on = next_offset.map(|next| format!("Lines that follow: {left}; go on with offset {next}."));
        let were_cut = (cut > 0).then(|| format!("Lines that were cut: {cut}; edits must not use their ends."));
        output.note = Some(go_on.into_iter().chain(were_cut).collect::<Vec<_>>().join(" "));
    }
    let truncated = output.truncated.clone();
    Ok(Ok(ToolAnswer::of(&output).truncated(truncated)))
}

/// Reads a line with its end into `line`, at most a little more than `max_bytes` of it. Gives its whole length without its
/// end; `None` at the file's end.
fn next_line(reader: &mut impl BufRead, line: &mut Vec<u8>, max_bytes: usize) -> Result<Option<usize>, std::io::Error> {
    let mut length = 0;
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok((length > 0).then_some(length));
        }
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(buffer.len(), |end| end + 1);
        // Four bytes more, so that a character at the limit is seen whole.
        let room = (max_bytes + 4).saturating_sub(line.len());
        line.extend_from_slice(&buffer[..taken.min(room)]);
        reader.consume(taken);
        length += taken;
        if end.is_some() {
            return Ok(Some(length - 1));
        }
    }
}

fn cut_line(text: &str, max_bytes: usize) -> String {
    let keep = max_bytes.saturating_sub(LINE_MARKER.len());
    format!("{}{LINE_MARKER}\n", &text[..text.floor_char_boundary(keep)])
}
