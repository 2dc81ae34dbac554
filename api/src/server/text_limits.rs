//! How long the texts of requests may be, and how many labels they may bring.

use crate::config::LimitsConfig;

/// What a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Text {
    /// The name of a queue, a workflow, a script, a label, a person.
    Name,
    /// An idempotency key, a concurrency key, a client's token.
    Key,
    /// What a label says.
    Label,
    /// The title of a session.
    Title,
    /// Why something is cancelled.
    Reason,
    /// What stands beside a decision.
    Note,
}

/// The limits.
#[derive(Debug, Clone, Copy)]
pub struct TextLimits {
    name: usize,
    key: usize,
    label: usize,
    title: usize,
    reason: usize,
    note: usize,
    /// How many labels.
    pub labels: usize,
}

impl TextLimits {
    /// What the configuration says.
    pub fn of(limits: &LimitsConfig) -> Self {
        Self {
            name: limits.name_max_bytes,
            key: limits.key_max_bytes,
            label: limits.label_max_bytes,
            title: limits.title_max_bytes,
            reason: limits.reason_max_bytes,
            note: limits.note_max_bytes,
            labels: limits.labels,
        }
    }

    /// The longest text of this kind in bytes, and the key of the configuration that says so.
    pub const fn max(&self, text: Text) -> (usize, &'static str) {
        match text {
            Text::Name => (self.name, "limits.name_max_bytes"),
            Text::Key => (self.key, "limits.key_max_bytes"),
            Text::Label => (self.label, "limits.label_max_bytes"),
            Text::Title => (self.title, "limits.title_max_bytes"),
            Text::Reason => (self.reason, "limits.reason_max_bytes"),
            Text::Note => (self.note, "limits.note_max_bytes"),
        }
    }
}

impl Default for TextLimits {
    fn default() -> Self {
        Self { name: 256, key: 512, label: 1_024, title: 1_024, reason: 4_096, note: 16_384, labels: 64 }
    }
}
