//! What a script does, on its way out: matched against the journal, or new.

use super::Job;
use crate::thrown::script_frames;
use mlua::Lua;
use moonlog_core::{
    error_info::ErrorInfo,
    event::{EventBody, JobEmitted, JobLogged, JobPhaseEntered, NewEvent},
    journal::{Entry, Mismatch, Offer, describe},
    json::Json,
};
use std::sync::Arc;

/// Why a run cannot go on. Once set, everything the script still tries fails.
#[derive(Debug, Clone)]
pub(crate) enum Fatal {
    /// A limit was reached, or the runner has a fault.
    Failed(ErrorInfo),
    /// The script does not fit its journal.
    Mismatch(Box<Mismatch>),
}

/// Why a call into the host gives nothing.
#[derive(Debug)]
pub(crate) enum Halt {
    /// The script gets this error.
    Error(ErrorInfo),
    /// The run is over.
    Fatal(Fatal),
    /// Luau itself failed, such as for want of memory.
    Lua(mlua::Error),
}

impl Halt {
    pub fn error(code: &str, message: impl Into<String>) -> Self {
        Self::Error(ErrorInfo::new(code, message))
    }

    pub fn limit(code: &str, message: impl Into<String>) -> Self {
        Self::Fatal(Fatal::Failed(ErrorInfo::new(code, message)))
    }

    pub fn fault(message: &str) -> Self {
        Self::limit("internal", format!("a fault of moonlog's: {message}"))
    }
}

impl From<mlua::Error> for Halt {
    fn from(error: mlua::Error) -> Self {
        Self::Lua(error)
    }
}

impl From<crate::value::BadValue> for Halt {
    fn from(bad: crate::value::BadValue) -> Self {
        Self::error(bad.code, bad.message)
    }
}

impl Job {
    /// The script does `body`: it must be what is recorded next, or the record has ended and it is new.
    pub fn intend(&mut self, body: EventBody, step: Option<Arc<str>>) -> Result<(), Halt> {
        self.count_event()?;
        match self.journal.offer(&body) {
            Offer::Matched => {}
            Offer::New => {
                self.push(body, step);
                if self.events == almost(self.limits.events_max) {
                    let max = self.limits.events_max;
                    self.warn(format!("the job has caused {} of at most {max} events; {CONTINUE}", self.events));
                }
            }
            Offer::Other(entry) => {
                let mismatch = mismatch(entry, describe(&body), &self.spec.workflow);
                return Err(Halt::Fatal(Fatal::Mismatch(Box::new(mismatch))));
            }
        }
        Ok(())
    }

    /// Counts one more event that the script causes.
    pub fn count_event(&mut self) -> Result<(), Halt> {
        self.events += 1;
        if self.events > self.limits.events_max {
            let max = self.limits.events_max;
            return Err(Halt::limit("limit_events", format!("the job has caused more than {max} events; {CONTINUE}")));
        }
        Ok(())
    }

    /// Warns of something that the last event led to. As it names that event it is no doing of the script's, and a replay
    /// under other limits passes it over.
    pub fn warn(&mut self, message: String) {
        let body = EventBody::JobLogged(JobLogged { level: "warn".into(), message });
        self.unflushed_bytes += size_of_body(&body);
        self.intents.push(NewEvent::new(body).cause_before(1));
    }

    /// A new event.
    pub fn push(&mut self, body: EventBody, step: Option<Arc<str>>) {
        self.unflushed_bytes += size_of_body(&body);
        self.intents.push(NewEvent::new(body).step(step));
    }

    /// Whether so much is unflushed that the script has to wait.
    pub fn is_full(&self) -> bool {
        self.unflushed_bytes >= self.limits.unflushed_bytes
    }

    pub fn phase(&mut self, title: String) -> Result<bool, Halt> {
        self.note(EventBody::JobPhaseEntered(JobPhaseEntered { title }))
    }

    pub fn log(&mut self, level: String, message: String) -> Result<bool, Halt> {
        self.check_text(&message, "log: message")?;
        self.note(EventBody::JobLogged(JobLogged { level, message }))
    }

    pub fn emit(&mut self, name: String, value: Json) -> Result<bool, Halt> {
        self.note(EventBody::JobEmitted(JobEmitted { name, value }))
    }

    /// An event that answers nothing but whether the script has to wait for a flush.
    fn note(&mut self, body: EventBody) -> Result<bool, Halt> {
        if self.refuse {
            return Ok(false);
        }
        let step = self.scope()?.reference.clone();
        self.intend(body, step)?;
        Ok(self.is_full())
    }

    fn check_text(&self, text: &str, what: &str) -> Result<(), Halt> {
        let max = self.limits.value_bytes;
        if text.len() > max {
            return Err(Halt::error("limit_value", format!("{what} is larger than {max} bytes")));
        }
        Ok(())
    }

    /// Ends the run because of `fatal`, once.
    pub fn set_fatal(&mut self, lua: &Lua, mut fatal: Fatal) -> ErrorInfo {
        if let Fatal::Mismatch(mismatch) = &mut fatal {
            mismatch.line = script_line(lua, &self.spec.workflow);
        }
        if let Fatal::Failed(error) = &mut fatal
            && error.traceback.is_none()
            && let Ok(text) = lua.traceback(None, 1)
        {
            let frames = script_frames(&text.to_string_lossy());
            error.traceback = (!frames.is_empty()).then_some(frames);
        }
        let error = match self.fatal.get_or_insert(fatal) {
            Fatal::Failed(error) => error.clone(),
            Fatal::Mismatch(mismatch) => ErrorInfo::new("replay_mismatch", mismatch.to_string()),
        };
        self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        error
    }
}

/// What helps a job that comes near a limit of its history.
pub(in crate::job) const CONTINUE: &str = "continue_as starts a fresh history";

/// How much of a limit is worth a warning: four fifths.
pub(in crate::job) const fn almost(max: u64) -> u64 {
    max - max / 5
}

/// The mismatch between a recorded entry and what is asked now.
pub(crate) fn mismatch(entry: &Entry, asked: String, script: &str) -> Mismatch {
    let path = match &entry.event.body {
        EventBody::StepStarted(step) => step.path.clone(),
        EventBody::StepFinished(step) => step.path.clone(),
        _ => entry.event.step.as_deref().unwrap_or_default().to_owned(),
    };
    Mismatch {
        position: Some(entry.event.position),
        path,
        recorded: describe(&entry.event.body),
        asked,
        script: script.to_owned(),
        line: None,
    }
}

/// The line of the script from which the host was called.
fn script_line(lua: &Lua, script: &str) -> Option<u32> {
    (0..40).find_map(|level| {
        lua.inspect_stack(level, |frame| {
            let source = frame.source();
            let found = source.short_src.as_deref() == Some(crate::vm::chunk_name(script).trim_start_matches('='));
            found.then(|| frame.current_line()).flatten().and_then(|line| u32::try_from(line).ok())
        })
        .flatten()
    })
}

fn size_of_body(body: &EventBody) -> usize {
    const ENVELOPE: usize = 128;
    ENVELOPE
        + match body {
            EventBody::StepStarted(step) => step.path.len() + step.input.as_str().len(),
            EventBody::StepFinished(step) => {
                step.path.len() + step.output.as_ref().map_or(0, |output| output.as_str().len())
            }
            EventBody::JobLogged(log) => log.message.len(),
            EventBody::JobEmitted(emitted) => emitted.value.as_str().len(),
            _ => 0,
        }
}
