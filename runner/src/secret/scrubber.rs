//! Removes secrets' values from a stream that comes in pieces.

use super::secrets::Forms;
use std::sync::Arc;

/// What stands where a value stood.
pub(super) const STARS: &str = "***";

/// Scrubs one stream. Holds back only what may be the beginning of a value.
pub struct Scrubber {
    forms: Option<Arc<Forms>>,
    held: Vec<u8>,
}

impl Scrubber {
    pub(super) const fn new(forms: Option<Arc<Forms>>) -> Self {
        Self { forms, held: Vec::new() }
    }

    /// Takes the next piece, and adds to `out` what is certain.
    pub fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        let Some(forms) = self.forms.clone() else {
            out.extend_from_slice(piece);
            return;
        };
        self.held.extend_from_slice(piece);
        let mut done = 0;
        for found in forms.automaton.find_iter(&self.held) {
            // A longer form that begins here or before may still be on its way: wait for it.
            if done + forms.certain(&self.held[done..]) <= found.start() {
                break;
            }
            out.extend_from_slice(&self.held[done..found.start()]);
            out.extend_from_slice(STARS.as_bytes());
            done = found.end();
        }
        let certain = forms.certain(&self.held[done..]);
        out.extend_from_slice(&self.held[done..done + certain]);
        self.held.drain(..done + certain);
    }

    /// Adds what was held back: the stream has ended.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        let held = std::mem::take(&mut self.held);
        match &self.forms {
            None => out.extend_from_slice(&held),
            Some(forms) => {
                let stars = vec![STARS; forms.forms.len()];
                out.extend_from_slice(&forms.automaton.replace_all_bytes(&held, &stars));
            }
        }
    }
}

impl Forms {
    /// Whether `text` is the beginning of a form and shorter than it.
    fn may_go_on(&self, text: &[u8]) -> bool {
        text.len() < self.longest && self.forms.iter().any(|form| form.len() > text.len() && form.starts_with(text))
    }

    /// How much of `text` cannot be part of a form that goes on beyond its end.
    fn certain(&self, text: &[u8]) -> usize {
        let from = text.len().saturating_sub(self.longest.saturating_sub(1));
        (from..text.len()).find(|&at| self.may_go_on(&text[at..])).unwrap_or(text.len())
    }
}

#[cfg(test)]
mod tests {
    use crate::secret::{SecretSource, Secrets};
    use proptest::prelude::*;

    fn secrets(values: &[&str]) -> Secrets {
        let values: Vec<String> = values.iter().map(|&value| value.to_owned()).collect();
        let sources = (0..values.len())
            .map(|n| (format!("S{n}"), SecretSource { env: n.to_string(), ..Default::default() }))
            .collect();
        Secrets::new(sources, |variable| variable.parse::<usize>().ok().map(|n| values[n].clone()))
    }

    fn scrub_in_pieces(secrets: &Secrets, text: &str, piece: usize) -> String {
        let (mut scrubber, mut out) = (secrets.scrubber(), Vec::new());
        text.as_bytes().chunks(piece).for_each(|chunk| scrubber.push(chunk, &mut out));
        scrubber.finish(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_value_is_removed_wherever_the_pieces_are_cut() {
        let secrets = secrets(&["hunter2!", "hunter2!long"]);
        let text = "a hunter2! b hunter2!long c hunter2!lon aHVudGVyMiE= hunter2%21 hunt";
        for piece in 1..text.len() {
            assert_eq!(scrub_in_pieces(&secrets, text, piece), "a *** b *** c ***lon ***= *** hunt", "by {piece}");
        }
    }

    #[test]
    fn only_what_may_be_a_value_is_held_back() {
        let secrets = secrets(&["hunter2!"]);
        let (mut scrubber, mut out) = (secrets.scrubber(), Vec::new());
        scrubber.push(b"Password: ", &mut out);
        assert_eq!(out, b"Password: ");
        scrubber.push(b"now hunter", &mut out);
        assert_eq!(out, b"Password: now ");
        scrubber.push(b"s", &mut out);
        assert_eq!(out, b"Password: now hunters");
    }

    proptest! {
        #[test]
        fn pieces_give_what_the_whole_gives(text in "[ab]{0,60}", values in prop::collection::vec("[ab]{4,7}", 1..4), piece in 1usize..9) {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            let secrets = secrets(&values);
            let scrubbed = scrub_in_pieces(&secrets, &text, piece);
            prop_assert_eq!(&scrubbed, &secrets.scrub(&text));
        }
    }
}
