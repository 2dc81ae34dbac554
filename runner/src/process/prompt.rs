//! Whether a process that has gone silent has asked something that nobody will answer.

use super::output_text::cut_front;
use regex::Regex;
use std::sync::LazyLock;

/// How much of the end of an output is looked at and told, in bytes.
pub(super) const TAIL_BYTES: usize = 1_024;

/// What terminals are told besides text: colours, and where the cursor goes.
static ESCAPES: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\x1b\[[0-9;?]*[ -/]*[@-~]").ok());

/// Questions by their words, on the last line that says anything.
static QUESTION: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"(?xi)
        [(\[] \s* y(es)? \s* [/|] \s* no? (\s* / \s* [^)\]]*)? \s* [)\]]
        | \b press \s+ (any \s+ key | enter | return)
        | \b hit \s+ (any \s+ key | enter | return)
        | \b (do \s+ you | would \s+ you | are \s+ you \s+ sure | shall \s+ i | ready \s+ to | overwrite | continue | proceed) \b [^?]* \? \s* $
        | \b (password | passphrase | passcode | pin | username | login) \b [^:]* : \s* $",
    )
    .ok()
});

/// Endings after which a cursor that stays on the line waits for input.
const OPEN_ENDINGS: [char; 7] = [':', '?', '>', '$', '#', '%', ']'];

/// The end of an output, as much of it as is looked at.
pub(super) fn tail(output: &str) -> &str {
    cut_front(output, TAIL_BYTES)
}

/// Whether an output that ends so looks like a question.
pub(super) fn looks_like_prompt(tail: &str) -> bool {
    let plain = match &*ESCAPES {
        Some(escapes) => escapes.replace_all(tail, ""),
        None => tail.into(),
    };
    let Some(last) = plain.lines().rfind(|line| !line.trim().is_empty()) else { return false };
    // A carriage return begins the line anew.
    let last = last.rsplit('\r').find(|part| !part.trim().is_empty()).unwrap_or(last);
    if QUESTION.as_ref().is_some_and(|question| question.is_match(last)) {
        return true;
    }
    let open = !plain.ends_with(['\n', '\r']);
    open && last.trim_end().ends_with(OPEN_ENDINGS) && !looks_like_progress(last)
}

/// `Compiling 45%` waits for nobody.
fn looks_like_progress(line: &str) -> bool {
    let line = line.trim_end();
    line.strip_suffix('%').is_some_and(|rest| rest.trim_end().ends_with(|c: char| c.is_ascii_digit()))
        || line.ends_with("=>]")
        || line
            .rfind('[')
            .is_some_and(|at| line[at..].chars().all(|c| "[]#=>-. ".contains(c) || c.is_ascii_digit() || c == '/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_told_from_work() {
        for text in [
            "Continue? [y/N] ",
            "Overwrite a.txt? (yes/no)\n",
            "Are you sure you want to continue connecting (yes/no/[fingerprint])? ",
            "user@host's password: ",
            "Enter passphrase for key '/k': ",
            "Username for 'https://example.com': ",
            "Press any key to continue . . .\n",
            "Hit Enter",
            "line\n>>> ",
            "sh-5.2$ ",
            "? Project name: \x1b[0m",
            "Do you want to proceed?\n",
            "10%\rOverwrite? ",
            "Name [default] ",
        ] {
            assert!(looks_like_prompt(text), "{text:?}");
        }
        for text in [
            "",
            "\n\n",
            "Compiling moonlog v0.1.0\n",
            "Results:\n",
            "What went wrong?\nnothing\n",
            "progress 45%",
            "building [=====>   ] 12/100",
            "[#####]",
            "waiting for the server to start",
            "running 3 tests\n",
        ] {
            assert!(!looks_like_prompt(text), "{text:?}");
        }
    }

    #[test]
    fn the_tail_is_cut_between_characters() {
        assert_eq!(tail("short"), "short");
        let long = "é".repeat(1_000);
        assert_eq!(tail(&long).len(), 1_024);
        assert_eq!(tail(&format!("{long}x")).len(), 1_023);
    }
}
