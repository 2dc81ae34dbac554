//! What `agent` is asked, as the prelude writes it.

use super::schema::AnswerSchema;
use crate::tool::Tools;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use moonlog_core::{error_info::ErrorInfo, id::SessionId, json::Json, message::Part};
use serde::Deserialize;
use std::path::Path;

/// The largest image, in bytes.
const IMAGE_MAX_BYTES: usize = 8 << 20;

/// The input of the operation.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct AgentInput {
    /// The question: a text, or parts.
    pub(super) prompt: Prompt,
    pub(super) model: Option<String>,
    pub(super) backend: Option<String>,
    pub(super) system: Option<String>,
    /// The tools it may use; all of them where that is not said.
    pub(super) tools: Option<Vec<String>>,
    pub(super) schema: Option<Json>,
    pub(super) session: Option<SessionId>,
    pub(super) workspace: Option<Json>,
    #[serde(default)]
    pub(super) images: Vec<String>,
    pub(super) max_turns: Option<u32>,
    pub(super) max_tool_calls: Option<u32>,
    pub(super) timeout_ms: Option<u64>,
    /// What is run after a turn in which files were changed; an empty text where nothing is.
    pub(super) check: Option<String>,
}

/// A question.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Prompt {
    Text(String),
    /// A message that waits in the session.
    Queued([Queued; 1]),
    Parts(Vec<Part>),
}

/// A message that waits in the session, by its id.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Queued {
    Queued {
        message: String,
    },
    /// Nobody says anything: something that was left running has ended.
    Woken,
}

impl AgentInput {
    pub(super) fn answer_schema(&self) -> Result<Option<AnswerSchema>, ErrorInfo> {
        self.schema.as_ref().map(AnswerSchema::new).transpose()
    }

    /// The message that waits in the session, where that is the question.
    pub(super) fn queued(&self) -> Option<&str> {
        match &self.prompt {
            Prompt::Queued([Queued::Queued { message }]) => Some(message),
            Prompt::Queued([Queued::Woken]) | Prompt::Text(_) | Prompt::Parts(_) => None,
        }
    }

    /// Whether it is asked nothing, and only hears what has ended.
    pub(super) const fn is_woken(&self) -> bool {
        matches!(self.prompt, Prompt::Queued([Queued::Woken]))
    }

    /// Whether it speaks in a session that others speak in too.
    pub(super) const fn names_session(&self) -> bool {
        self.session.is_some()
    }

    /// What is run after a turn in which files were changed.
    pub(super) fn check_command<'a>(&'a self, usual: &'a str) -> Option<&'a str> {
        Some(self.check.as_deref().unwrap_or(usual)).filter(|command| !command.trim().is_empty())
    }

    /// The question's parts, with its images read from below `root`. `queued` is what the message says that waits.
    pub(super) async fn parts(
        &self,
        tools: &Tools,
        root: Option<&Path>,
        queued: Option<&Json>,
    ) -> Result<Vec<Part>, ErrorInfo> {
        let mut parts = match (&self.prompt, queued) {
            (Prompt::Text(text), _) => vec![Part::text(text.as_str())],
            (Prompt::Parts(parts), _) => parts.clone(),
            (Prompt::Queued(_), Some(queued)) => queued.to().map_err(|error| {
                ErrorInfo::new("invalid_input", format!("agent: the message cannot be read: {error}"))
            })?,
            (Prompt::Queued(_), None) => {
                return Err(ErrorInfo::new("message_dropped", "the message was taken back before its turn"));
            }
        };
        for image in &self.images {
            parts.push(read_image(tools, image, root).await?);
        }
        Ok(parts)
    }
}

/// An image by address, as a data URL, or as a file.
async fn read_image(tools: &Tools, image: &str, root: Option<&Path>) -> Result<Part, ErrorInfo> {
    if image.starts_with("https://") || image.starts_with("http://") {
        return Ok(Part::Image { media_type: None, data: None, url: Some(image.into()) });
    }
    if let Some((media_type, data)) = image.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,")) {
        return Ok(Part::Image { media_type: Some(media_type.into()), data: Some(data.into()), url: None });
    }
    let failed = |why: &str| ErrorInfo::new("invalid_image", format!("agent: image {image}: {why}"));
    let media_type =
        match Path::new(image).extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase).as_deref() {
            Some("png") => "image/png",
            Some("jpg" | "jpeg") => "image/jpeg",
            Some("gif") => "image/gif",
            Some("webp") => "image/webp",
            _ => return Err(failed("png, jpeg, gif and webp are known")),
        };
    // A script may name any path: it gets what its agents' tools would get.
    let bytes = tools.content(root.map(Path::to_owned), image, IMAGE_MAX_BYTES).await;
    let bytes = bytes.map_err(|error| failed(&error.message))?;
    Ok(Part::Image { media_type: Some(media_type.into()), data: Some(STANDARD.encode(bytes)), url: None })
}
