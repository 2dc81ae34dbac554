//! Events as feeds and bundles carry them, read back.

use moonlog_core::{
    event::{Event, EventBody, Origin, StreamId},
    id::{Hash, JobId, ProcessId, SessionId},
    time::Timestamp,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::sync::Arc;

/// An envelope whose data is still text.
#[derive(Debug, Deserialize)]
pub struct Envelope {
    /// 1-based, over the whole log.
    pub position: u64,
    stream: StreamId,
    version: u64,
    time: Timestamp,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    job: Option<JobId>,
    #[serde(default)]
    session: Option<SessionId>,
    #[serde(default)]
    process: Option<ProcessId>,
    #[serde(default)]
    step: Option<Arc<str>>,
    #[serde(default)]
    cause: Option<u64>,
    #[serde(default)]
    origin: Option<Origin>,
    data: Box<RawValue>,
}

/// Data that is stored apart and was too large to be shown in its place.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlobRef {
    /// Its name.
    pub blob: Hash,
    /// Its size.
    pub bytes: u64,
}

impl Envelope {
    /// Reads one line of a feed.
    pub fn parse(line: &str) -> Result<Self, String> {
        serde_json::from_str(line).map_err(|error| format!("this is no event: {error}"))
    }

    /// The stream it stands in.
    pub const fn stream(&self) -> &StreamId {
        &self.stream
    }

    /// When it was appended.
    pub const fn time(&self) -> Timestamp {
        self.time
    }

    /// Its type.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The call path that it is about.
    pub fn step(&self) -> Option<&str> {
        self.step.as_deref()
    }

    /// Its data, as JSON text.
    pub fn data(&self) -> &str {
        self.data.get()
    }

    /// The blob that has to be fetched before the event can be read.
    pub fn blob(&self) -> Option<BlobRef> {
        serde_json::from_str(self.data.get()).ok()
    }

    /// The event; `data` stands for what the envelope left out.
    pub fn into_event(self, data: Option<&str>) -> Result<Event, String> {
        let body = EventBody::from_data_json(&self.kind, data.unwrap_or_else(|| self.data.get()))
            .map_err(|error| format!("event {}: {error}", self.position))?;
        Ok(Event {
            position: self.position,
            stream: self.stream,
            version: self.version,
            time: self.time,
            job: self.job,
            session: self.session,
            process: self.process,
            step: self.step,
            cause: self.cause,
            origin: self.origin,
            body,
            blob: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use moonlog_core::event::JobLogged;

    const JOB: &str = "019ab0c2-7d1e-7cc1-9d53-0a3d6b6f2f11";

    fn event() -> Event {
        Event {
            position: 7,
            stream: StreamId::Job(JOB.parse().unwrap()),
            version: 2,
            time: "2026-11-21T07:32:31.123456Z".parse().unwrap(),
            job: Some(JOB.parse().unwrap()),
            session: None,
            process: None,
            step: Some("a/b".into()),
            cause: Some(3),
            origin: None,
            body: EventBody::JobLogged(JobLogged { level: "info".into(), message: "hello".into() }),
            blob: None,
        }
    }

    #[test]
    fn an_event_survives_the_feed() {
        let line = event().to_json(1 << 20);
        assert_eq!(Envelope::parse(&line).unwrap().into_event(None).unwrap(), event());
    }

    #[test]
    fn data_that_was_left_out_is_put_back() {
        let hash = Hash::of(b"x");
        let line = Event { blob: Some((hash, 40_000)), ..event() }.to_json(100);
        let envelope = Envelope::parse(&line).unwrap();
        assert_eq!(envelope.blob(), Some(BlobRef { blob: hash, bytes: 40_000 }));
        assert_eq!(envelope.into_event(Some(r#"{"level":"info","message":"hello"}"#)).unwrap(), event());
    }

    #[test]
    fn an_event_of_a_newer_version_is_named() {
        let line = event().to_json(100).replace("job.logged", "job.teleported");
        let error = Envelope::parse(&line).unwrap().into_event(None).unwrap_err();
        assert!(error.contains("job.teleported"), "{error}");
    }
}
