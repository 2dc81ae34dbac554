//! What webhooks are owed, folded from the log.

use crate::given::*;
use moonlog_core::{
    event::*,
    projection::{FAILED_KEPT, Projection, WebhookState},
};

/// A log as it grows, with what follows from it.
#[derive(Default)]
struct Told {
    all: Projection,
    position: u64,
}

impl Told {
    fn tell(&mut self, body: EventBody) -> u64 {
        self.position += 1;
        let stream = if body.name().starts_with("job.") { StreamId::Job(job_id(1)) } else { StreamId::System };
        let event = Event {
            position: self.position,
            job: matches!(stream, StreamId::Job(_)).then(|| job_id(1)),
            stream,
            version: self.position,
            time: at(self.position * 1_000),
            session: None,
            process: None,
            step: None,
            cause: None,
            origin: None,
            body,
            blob: None,
        };
        self.all.apply(&event);
        self.position
    }

    fn state(&self) -> &WebhookState {
        self.all.webhooks().get("h").unwrap()
    }
}

fn logged() -> EventBody {
    EventBody::JobLogged(JobLogged { level: "info".into(), message: "m".into() })
}

#[test]
fn what_is_wanted_is_owed_until_it_has_a_record() {
    let mut told = Told::default();
    told.tell(completed());
    let since = told.tell(webhook_configured("h", &["job.completed"]));
    assert_eq!((told.state().pending(), told.state().recorded_until), (0, since), "what was before is not wanted");
    assert_eq!(told.tell(logged()), told.state().recorded_until, "nothing is owed, so all is recorded");
    let (first, second) = (told.tell(completed()), told.tell(completed()));
    let after = told.tell(logged());
    assert_eq!((told.state().pending(), told.state().recorded_until), (2, first - 1));
    assert!(told.state().wants(first, "job.completed") && !told.state().wants(after, "job.logged"));
    // The second comes first.
    told.tell(webhook_delivered("h", second, first - 1));
    assert!(told.state().has_record(second) && !told.state().has_record(first));
    told.tell(webhook_retry("h", first, 1, after));
    let state = told.state();
    assert_eq!((state.pending(), state.delivered, state.open[&first].attempt), (1, 1, 1));
    assert_eq!(state.open[&first].due, at(told.position * 1_000 + 5_000));
    assert_eq!(state.recorded_until, told.position, "a try that failed is a record too");
    told.tell(webhook_delivered("h", first, after));
    let state = told.state();
    assert_eq!((state.pending(), state.delivered, state.open.len()), (0, 2, 0));
    assert_eq!(state.last_error, None);
}

#[test]
fn a_delivery_that_failed_can_be_asked_for_again() {
    let mut told = Told::default();
    told.tell(webhook_configured("h", &["job.completed"]));
    let event = told.tell(completed());
    told.tell(webhook_failed("h", event, event));
    assert_eq!((told.state().pending(), told.state().failed, told.state().failures.len()), (0, 1, 1));
    told.tell(webhook_retry("h", event, 0, event));
    assert_eq!((told.state().pending(), told.state().failures.len(), told.state().open[&event].attempt), (1, 0, 0));
    told.tell(webhook_delivered("h", event, event));
    assert_eq!((told.state().pending(), told.state().delivered), (0, 1));
}

#[test]
fn types_count_from_where_they_were_configured() {
    let mut told = Told::default();
    told.tell(webhook_configured("h", &["job.completed"]));
    let before = told.tell(completed());
    told.tell(webhook_configured("h", &["job.logged"]));
    let (log, end) = (told.tell(logged()), told.tell(completed()));
    let state = told.state();
    assert!(state.wants(before, "job.completed") && !state.wants(before, "job.logged"));
    assert!(state.wants(log, "job.logged") && !state.wants(end, "job.completed"));
    assert_eq!(state.pending(), 2);
    told.tell(webhook_configured("h", &[]));
    told.tell(logged());
    assert_eq!((told.state().pending(), told.state().types().count()), (2, 0), "what was owed stays so");
}

#[test]
fn what_is_kept_does_not_grow_with_what_is_owed() {
    let mut told = Told::default();
    told.tell(webhook_configured("h", &["job.logged"]));
    let first = told.position + 1;
    (0..10_000).for_each(|_| {
        told.tell(logged());
    });
    assert_eq!((told.state().pending(), told.state().open.len(), told.state().recorded_until), (10_000, 0, first - 1));
    for event in first..first + 500 {
        told.tell(webhook_failed("h", event, event));
    }
    let state = told.state();
    assert_eq!((state.failed, state.failures.len(), state.pending()), (500, FAILED_KEPT, 9_500));
    assert_eq!(state.failures[0].event, first + 400, "the newest are kept");
}
