//! What is shown: answers on standard output, all else on standard error. Nothing that a model or a tool says can act on
//! the terminal.

use crate::cli::{
    failure::Failure,
    paint::{Look, Paint, harmless},
};
use moonlog_core::event::{StepOutcome, ToolFinished, ToolStarted};
use std::{
    collections::HashMap,
    io::{IsTerminal, Write, stderr, stdin, stdout},
};

/// How much of a call's input is shown.
const SHOWN_CHARS: usize = 100;

/// See the module.
pub struct Screen {
    paint: Paint,
    /// Whether a person types.
    pub interactive: bool,
    /// Whether standard output stands at the beginning of a line.
    fresh: bool,
    /// Calls that run, by id, as they are shown when they end.
    calls: HashMap<String, String>,
}

impl Screen {
    /// A screen.
    pub fn new() -> Self {
        let interactive = stdin().is_terminal() && stderr().is_terminal();
        Self { paint: Paint::for_terminal(&stderr()), interactive, fresh: true, calls: HashMap::new() }
    }

    /// A piece of an answer.
    pub fn answer(&mut self, text: &str) -> Result<(), Failure> {
        if text.is_empty() {
            return Ok(());
        }
        let mut out = stdout().lock();
        for (at, line) in text.split('\n').enumerate() {
            if at > 0 {
                out.write_all(b"\n")?;
            }
            out.write_all(harmless(&line.replace('\t', "    ")).as_bytes())?;
        }
        self.fresh = text.ends_with('\n');
        out.flush()?;
        Ok(())
    }

    /// A piece of what the model thinks: for people alone.
    pub fn reasoning(&mut self, text: &str) {
        if self.interactive && !text.is_empty() {
            let lines: Vec<String> = text.split('\n').map(|line| harmless(line).into_owned()).collect();
            // Where nobody reads standard error there is nobody to tell.
            let _ = write!(stderr(), "{}", self.paint.put(Look::Dim, &lines.join("\n")));
            self.fresh = false;
        }
    }

    /// Ends the line that is open.
    pub fn end_line(&mut self) -> Result<(), Failure> {
        if !std::mem::replace(&mut self.fresh, true) {
            let mut out = stdout().lock();
            out.write_all(b"\n")?;
            out.flush()?;
        }
        Ok(())
    }

    /// Says something beside the conversation.
    pub fn note(&mut self, text: &str) -> Result<(), Failure> {
        self.tell(Look::Dim, text)
    }

    /// Says what is wrong.
    pub fn warn(&mut self, text: &str) -> Result<(), Failure> {
        self.tell(Look::Red, text)
    }

    /// Says what is asked.
    pub fn ask(&mut self, text: &str) -> Result<(), Failure> {
        self.tell(Look::Yellow, text)
    }

    fn tell(&mut self, look: Look, text: &str) -> Result<(), Failure> {
        self.end_line()?;
        for line in text.lines() {
            let _ = writeln!(stderr(), "{}", self.paint.put(look, &harmless(line)));
        }
        Ok(())
    }

    /// Asks for the next line.
    pub fn prompt(&mut self) -> Result<(), Failure> {
        if self.interactive {
            self.end_line()?;
            let _ = write!(stderr(), "{} ", self.paint.put(Look::Bold, ">"));
        }
        Ok(())
    }

    /// A call has begun.
    pub fn call_started(&mut self, call: &ToolStarted) {
        let input: String = call.input.to_string().chars().take(SHOWN_CHARS).collect();
        self.calls.insert(call.call_id.clone(), format!("{} {input}", call.name));
    }

    /// It has ended: the line that tells of it.
    pub fn call_finished(&mut self, call: &ToolFinished) -> Result<(), Failure> {
        let Some(what) = self.calls.remove(&call.call_id) else { return Ok(()) };
        let how = match call.outcome {
            StepOutcome::Ok => "ok",
            StepOutcome::Error => "failed",
            StepOutcome::TimedOut => "timed out",
            StepOutcome::Cancelled => "cancelled",
            StepOutcome::Interrupted => "interrupted",
            StepOutcome::Skipped => "skipped",
        };
        let look = if call.outcome == StepOutcome::Ok { Look::Cyan } else { Look::Yellow };
        self.tell(look, &format!("· {what}: {how}, {} ms", call.latency_ms))
    }
}
