//! What has come to a job from outside and was not used yet: signals, decisions, a request to cancel it. Pure.

use moonlog_core::{
    event::{Event, EventBody, ToolApprovalDecided},
    json::Json,
};
use std::collections::{HashMap, VecDeque};

/// A request to cancel the job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CancelRequest {
    pub(super) reason: Option<String>,
    /// Where it stands.
    pub(super) position: u64,
}

#[derive(Debug, Default)]
pub(super) struct Inbox {
    /// Oldest first, with their positions.
    signals: VecDeque<(u64, String, Json)>,
    /// By the id of what was asked, with its position.
    decisions: HashMap<String, (u64, ToolApprovalDecided)>,
    /// The first request.
    pub(super) cancel: Option<CancelRequest>,
    /// The position of what came last of what a job waits for: where it waits, that is what makes it go on.
    pub(super) came: Option<u64>,
    /// The position from which on the job waits.
    waits_from: u64,
}

impl Inbox {
    /// Takes in the next event of the job's stream.
    pub(super) fn note(&mut self, event: &Event) {
        match &event.body {
            EventBody::JobSignalled(signal) => {
                self.signals.push_back((event.position, signal.name.clone(), signal.payload.clone()));
            }
            EventBody::ToolApprovalDecided(decided) => {
                self.decisions.insert(decided.call_id.clone(), (event.position, decided.clone()));
            }
            EventBody::JobCancelRequested(request) if self.cancel.is_none() => {
                self.cancel = Some(CancelRequest { reason: request.reason.clone(), position: event.position });
            }
            EventBody::ProcessExited(_) => self.came = Some(event.position),
            EventBody::JobWaiting(_) => self.wait_from(event.position),
            _ => {}
        }
    }

    /// The job waits since this position: what stands before it, also where it is noted later, is not what makes it go on.
    pub(super) fn wait_from(&mut self, position: u64) {
        self.waits_from = self.waits_from.max(position);
    }

    /// What came last since the job waits, used or not.
    pub(super) fn came_since_waiting(&self) -> Option<u64> {
        let signals = self.signals.iter().map(|(position, ..)| *position);
        let decisions = self.decisions.values().map(|(position, _)| *position);
        signals.chain(decisions).chain(self.came).filter(|position| *position > self.waits_from).max()
    }

    /// The event that makes a job that waits go on; none where its time has come.
    pub(super) fn wakes(&self) -> Option<u64> {
        self.came.filter(|position| *position > self.waits_from)
    }

    /// Takes the oldest signal of a name.
    pub(super) fn take_signal(&mut self, name: &str) -> Option<Json> {
        let at = self.signals.iter().position(|(_, other, _)| other == name)?;
        let (position, _, payload) = self.signals.remove(at)?;
        self.came = Some(position);
        Some(payload)
    }

    /// Takes the decision on what was asked at position `asked`. An earlier one was on what an earlier run asked.
    pub(super) fn take_decision(&mut self, id: &str, asked: u64) -> Option<ToolApprovalDecided> {
        let (position, decided) = self.decisions.remove(id).filter(|(position, _)| *position > asked)?;
        self.came = Some(position);
        Some(decided)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use moonlog_core::{
        event::{Decision, JobCancelRequested, JobSignalled, ProcessExited, ProcessOutcome, StreamId},
        time::Timestamp,
    };

    fn event(position: u64, body: EventBody) -> Event {
        Event {
            position,
            stream: StreamId::System,
            version: position,
            time: Timestamp::from_micros(0),
            job: None,
            session: None,
            process: None,
            step: None,
            cause: None,
            origin: None,
            body,
            blob: None,
        }
    }

    #[test]
    fn signals_are_taken_oldest_first_by_name() {
        let mut inbox = Inbox::default();
        for (position, name) in [(1, "a"), (2, "b"), (3, "a")] {
            let signal = JobSignalled { name: name.into(), payload: Json::of(&position), idempotency_key: None };
            inbox.note(&event(position, EventBody::JobSignalled(signal)));
        }
        let mut take = |name| inbox.take_signal(name).map(|payload| payload.to_string());
        assert_eq!(
            [take("a"), take("c"), take("a"), take("a"), take("b")].map(|taken| taken.unwrap_or_default()),
            ["1", "", "3", "", "2"]
        );
    }

    #[test]
    fn a_decision_counts_for_what_was_asked_before_it() {
        let decide = |inbox: &mut Inbox| {
            let decided =
                ToolApprovalDecided { call_id: "approve".into(), decision: Decision::Approved, by: None, note: None };
            inbox.note(&event(5, EventBody::ToolApprovalDecided(decided)));
        };
        let mut inbox = Inbox::default();
        decide(&mut inbox);
        assert!(inbox.take_decision("other", 4).is_none());
        assert!(inbox.take_decision("approve", 4).is_some());
        assert!(inbox.take_decision("approve", 4).is_none());
        decide(&mut inbox);
        assert!(inbox.take_decision("approve", 6).is_none());
    }

    #[test]
    fn what_came_before_a_wait_does_not_end_it() {
        let exited = |position| {
            event(
                position,
                EventBody::ProcessExited(ProcessExited {
                    outcome: ProcessOutcome::Exited,
                    exit_code: Some(0),
                    signal: None,
                    wall_ms: 1,
                    output_bytes: 0,
                    tail: None,
                }),
            )
        };
        let mut inbox = Inbox::default();
        inbox.wait_from(7);
        inbox.note(&exited(5));
        assert_eq!(inbox.wakes(), None);
        inbox.note(&exited(8));
        assert_eq!(inbox.wakes(), Some(8));
    }

    #[test]
    fn the_first_request_to_cancel_gives_the_reason() {
        let mut inbox = Inbox::default();
        for (position, reason) in [(1, "first"), (2, "second")] {
            let request = JobCancelRequested { reason: Some(reason.into()) };
            inbox.note(&event(position, EventBody::JobCancelRequested(request)));
        }
        assert_eq!(inbox.cancel, Some(CancelRequest { reason: Some("first".into()), position: 1 }));
    }
}
