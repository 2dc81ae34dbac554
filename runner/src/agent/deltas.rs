//! Gathers an answer's pieces into deltas, without any secret's value: at most one per channel in 50 ms or 4 KiB. Pure:
//! the time is an argument.

use crate::secret::{Scrubber, Secrets};
use moonlog_core::event::{ChatDelta, EventBody};
use std::time::Duration;
use tokio::time::Instant;

/// How long pieces are gathered.
pub(super) const GATHER: Duration = Duration::from_millis(50);

/// How much is gathered, in bytes.
const GATHER_BYTES: usize = 4_096;

/// What an answer is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Channel {
    Text,
    Reasoning,
    ToolCall,
}

impl Channel {
    const ALL: [Self; 3] = [Self::Reasoning, Self::Text, Self::ToolCall];

    const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Reasoning => "reasoning",
            Self::ToolCall => "tool_call",
        }
    }
}

struct Gathered {
    /// Holds back what may be the beginning of a secret's value.
    scrubber: Scrubber,
    text: String,
    /// When the first of it came.
    since: Option<Instant>,
    seq: u64,
}

/// The deltas of one turn.
pub(super) struct Deltas {
    turn: u32,
    channels: [Gathered; 3],
}

impl Deltas {
    pub(super) fn new(turn: u32, secrets: &Secrets) -> Self {
        let channels =
            Channel::ALL.map(|_| Gathered { scrubber: secrets.scrubber(), text: String::new(), since: None, seq: 0 });
        Self { turn, channels }
    }

    /// Takes in a piece.
    pub(super) fn push(&mut self, channel: Channel, text: &str, now: Instant) {
        let gathered = &mut self.channels[channel as usize];
        let mut clean = Vec::with_capacity(text.len());
        gathered.scrubber.push(text.as_bytes(), &mut clean);
        if !clean.is_empty() {
            gathered.text.push_str(&String::from_utf8_lossy(&clean));
            gathered.since.get_or_insert(now);
        }
    }

    /// The deltas that are due: what was gathered long enough, or is large.
    pub(super) fn due(&mut self, now: Instant) -> Vec<EventBody> {
        self.take(|gathered| {
            gathered.text.len() >= GATHER_BYTES || gathered.since.is_some_and(|since| now >= since + GATHER)
        })
    }

    /// All that is left.
    pub(super) fn rest(&mut self) -> Vec<EventBody> {
        for gathered in &mut self.channels {
            let mut clean = Vec::new();
            gathered.scrubber.finish(&mut clean);
            gathered.text.push_str(&String::from_utf8_lossy(&clean));
        }
        self.take(|_| true)
    }

    /// When the next delta is due by itself.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.channels.iter().filter_map(|gathered| gathered.since).min().map(|since| since + GATHER)
    }

    fn take(&mut self, is_due: impl Fn(&Gathered) -> bool) -> Vec<EventBody> {
        let mut events = Vec::new();
        for channel in Channel::ALL {
            let gathered = &mut self.channels[channel as usize];
            if gathered.text.is_empty() || !is_due(gathered) {
                continue;
            }
            gathered.since = None;
            gathered.seq += 1;
            events.push(EventBody::ChatDelta(ChatDelta {
                turn: self.turn,
                channel: channel.name().into(),
                seq: gathered.seq,
                text: std::mem::take(&mut gathered.text),
            }));
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(events: Vec<EventBody>) -> Vec<(String, u64, usize)> {
        let delta = |event| match event {
            EventBody::ChatDelta(delta) => (delta.channel, delta.seq, delta.text.len()),
            other => panic!("{other:?}"),
        };
        events.into_iter().map(delta).collect()
    }

    #[test]
    fn a_delta_comes_after_fifty_milliseconds_or_four_kibibytes() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut deltas = Deltas::new(1, &Secrets::default());
        assert_eq!(deltas.next_due(), None);
        deltas.push(Channel::Text, "a", at(0));
        deltas.push(Channel::Reasoning, "b", at(20));
        assert_eq!(shown(deltas.due(at(49))), []);
        assert_eq!(shown(deltas.due(at(50))), [("text".into(), 1, 1)]);
        assert_eq!(deltas.next_due(), Some(at(70)));
        deltas.push(Channel::Text, &"x".repeat(4_096), at(51));
        assert_eq!(shown(deltas.due(at(51))), [("text".into(), 2, 4_096)]);
        deltas.push(Channel::ToolCall, "{}", at(52));
        assert_eq!(shown(deltas.rest()), [("reasoning".into(), 1, 1), ("tool_call".into(), 1, 2)]);
    }

    #[test]
    fn a_value_that_comes_in_pieces_is_in_no_delta() {
        let source = crate::secret::SecretSource { env: "S".into(), ..Default::default() };
        let secrets = Secrets::new([("S".to_owned(), source)].into(), |_| Some("hunter2\u{f6}hunter2".into()));
        let now = Instant::now();
        let mut deltas = Deltas::new(1, &secrets);
        let mut said = String::new();
        let mut hear = |events: Vec<EventBody>| {
            for event in events {
                let EventBody::ChatDelta(delta) = event else { panic!("{event:?}") };
                said.push_str(&delta.text);
            }
        };
        for piece in ["It is hun", "ter2", "\u{f6}hunt", "er2, and not hunter2", "\u{fc}. hunter2\u{f6}hun"] {
            deltas.push(Channel::Text, piece, now);
            hear(deltas.due(now + GATHER));
        }
        hear(deltas.rest());
        assert_eq!(said, "It is ***, and not hunter2\u{fc}. hunter2\u{f6}hun");
    }
}
