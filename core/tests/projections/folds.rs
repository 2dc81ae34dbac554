//! What jobs, queues, processes and approvals look like after what happened.

use crate::{given::*, history::histories};
use moonlog_core::{error_info::ErrorInfo, event::*, json::Json, projection::*};
use proptest::prelude::*;
use std::{collections::BTreeMap, sync::Arc};

fn fold(events: &[Arc<Event>]) -> Projection {
    let mut all = Projection::new();
    events.iter().for_each(|event| all.apply(event));
    all
}

fn job(bodies: impl IntoIterator<Item = EventBody>) -> JobState {
    JobState::fold(stream(bodies)).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_job_in_the_whole_is_the_fold_of_its_own_stream(appends in histories(200)) {
        let events = sequence(appends);
        let all = fold(&events);
        let mut streams: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for event in events.iter().filter(|event| matches!(event.stream, StreamId::Job(_))) {
            streams.entry(event.job.unwrap()).or_default().push(event);
        }
        for (id, events) in streams {
            let alone = JobState::fold(events).unwrap();
            let mut among = JobState::clone(all.job(&id).unwrap());
            // Children are known from their own streams only.
            among.applied = alone.applied;
            if let Some(pending) = &mut among.pending {
                pending.children.clear();
                if **pending == Pending::default() {
                    among.pending = None;
                }
            }
            prop_assert_eq!(&among, &alone);
            prop_assert_eq!(among.steps.running, among.open_steps.len() as u64);
        }
    }

    #[test]
    fn queues_and_keys_count_what_the_jobs_say(appends in histories(200)) {
        let all = fold(&sequence(appends));
        for name in ["default", "slow"] {
            let of = |status| all.live_jobs().filter(move |j| j.submitted.queue == name && j.status == status);
            let mut queued: Vec<_> = of(JobStatus::Queued).collect();
            queued.sort_by_key(|job| (-job.submitted.priority, job.submitted_position));
            let ids = |jobs: Vec<&Arc<JobState>>| jobs.into_iter().map(|job| job.id).collect::<Vec<_>>();
            prop_assert_eq!(ids(all.queued(name).collect()), ids(queued));
            let queue = all.queues().get(name).cloned().unwrap_or_default();
            prop_assert_eq!(queue.running, of(JobStatus::Running).count() as u64);
            prop_assert_eq!(queue.waiting, of(JobStatus::Waiting).count() as u64);
        }
        let one = |status| all.live_jobs()
            .filter(|job| job.submitted.concurrency_key.is_some() && job.status == status).count() as u64;
        let counts = KeyCounts { running: one(JobStatus::Running), waiting: one(JobStatus::Waiting) };
        prop_assert_eq!(all.with_key("one"), counts);
    }

    #[test]
    fn a_parent_knows_its_living_children(appends in histories(200)) {
        let all = fold(&sequence(appends));
        for parent in all.live_jobs() {
            let children = all.live_jobs().filter(|j| j.submitted.parent.as_ref().is_some_and(|p| p.job == parent.id));
            prop_assert_eq!(parent.live_children().collect::<Vec<_>>(), children.map(|j| j.id).collect::<Vec<_>>());
        }
    }

    #[test]
    fn folding_an_event_again_changes_nothing(appends in histories(100)) {
        let events = sequence(appends);
        let once = fold(&events);
        let mut twice = once.clone();
        events.iter().for_each(|event| twice.apply(event));
        prop_assert_eq!(once, twice);
    }
}

#[test]
fn a_jobs_life_in_states() {
    let error = ErrorInfo::new("script_error", "boom");
    let life = [
        (submitted(), JobStatus::Queued, 0, 0),
        (started(1, 1), JobStatus::Running, 1, 1),
        (step("a", "sleep", 1, r#"{"ms":5}"#), JobStatus::Running, 1, 1),
        (waiting(WaitKind::Sleep), JobStatus::Waiting, 1, 1),
        (EventBody::JobResumed(JobResumed {}), JobStatus::Running, 1, 1),
        (finished("a", 1, StepOutcome::Ok), JobStatus::Running, 1, 1),
        (EventBody::JobRetryScheduled(JobRetryScheduled { attempt: 1, wait_ms: 500, error }), JobStatus::Queued, 1, 1),
        (started(2, 2), JobStatus::Running, 2, 2),
        (EventBody::JobContinued(JobContinued { run: 3, args: Json::null() }), JobStatus::Running, 2, 3),
        (completed(), JobStatus::Completed, 2, 3),
    ];
    let events = stream(life.iter().map(|(body, ..)| body.clone()));
    for (n, (body, status, attempt, run)) in life.iter().enumerate() {
        let state = JobState::fold(&events[..=n]).unwrap();
        assert_eq!((state.status, state.attempt, state.run), (*status, *attempt, *run), "after {}", body.name());
    }
    let retried = JobState::fold(&events[..7]).unwrap();
    assert_eq!(retried.retry_at, Some(events[6].time.plus_ms(500)));
    assert_eq!(retried.next_due(), retried.retry_at);
    assert_eq!(retried.error.unwrap().code, "script_error");
    assert_eq!(JobState::fold(&events[..9]).unwrap().run_started_version, 9);
}

#[test]
fn a_job_is_shown_as_the_interface_says() {
    let mut submission = submission();
    submission.labels = [("team".to_owned(), "a".to_owned())].into();
    submission.parent = Some(ParentRef { job: job_id(9), step: "workflow".into() });
    let state = job([
        EventBody::JobSubmitted(submission.into()),
        started(1, 1),
        EventBody::JobPhaseEntered(JobPhaseEntered { title: "Scan".into() }),
        step("a/wait_for", "wait_for", 1, r#"{"signal":"go"}"#),
        waiting(WaitKind::Signal),
    ]);
    insta::assert_snapshot!(serde_json::to_string_pretty(&state.view()).unwrap(), @r#"
    {
      "id": "01010101-0101-0101-0000-000000000001",
      "state": "waiting",
      "workflow": "build",
      "script_hash": "0000000000000000000000000000000000000000000000000000000000000000",
      "args": {"n":1},
      "labels": {
        "team": "a"
      },
      "queue": "default",
      "priority": 0,
      "attempt": 1,
      "phase": "Scan",
      "waiting": {
        "for": "signal"
      },
      "parent": {
        "job": "01010101-0101-0101-0000-000000000009",
        "step": "workflow"
      },
      "submitted_at": "2025-10-09T08:53:21.000000Z",
      "started_at": "2025-10-09T08:53:22.000000Z",
      "version": 5,
      "usage": {
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "cached_tokens": 0,
        "reasoning_tokens": 0
      },
      "steps": {
        "total": 1,
        "running": 1,
        "cached": 0
      }
    }
    "#);
}

#[test]
fn ended_jobs_say_why() {
    let cases = [
        (EventBody::JobCancelled(JobCancelled { reason: Some("enough".into()) }), "cancelled", "enough"),
        (EventBody::JobCancelled(JobCancelled { reason: None }), "cancelled", "the job was cancelled"),
        (
            EventBody::JobTimedOut(JobTimedOut { limit: "timeout_ms".into() }),
            "timed_out",
            "the job reached its limit timeout_ms",
        ),
        (EventBody::JobFailed(JobFailed { error: ErrorInfo::new("boom", "it broke") }), "boom", "it broke"),
    ];
    for (end, code, message) in cases {
        let view = job([submitted(), started(1, 1), end]).view();
        let error = view.error.unwrap();
        assert_eq!((error.code.as_str(), error.message.as_str()), (code, message));
        assert!(view.ended_at.is_some() && view.result.is_none());
    }
}

#[test]
fn a_failed_attempt_stays_open_until_the_next() {
    let events = stream([
        submitted(),
        started(1, 1),
        step("a", "exec", 1, r#"{"command":"x"}"#),
        finished("a", 1, StepOutcome::Error),
        retry("a", 1, 250),
        step("a", "exec", 2, r#"{"command":"x"}"#),
        finished("a", 2, StepOutcome::Ok),
    ]);
    let after = |n: usize| JobState::fold(&events[..n]).unwrap();
    assert!(after(4).open_steps.is_empty());
    let open = after(5).open_steps["a"].clone();
    assert_eq!((open.attempt, open.retry_at), (1, Some(events[4].time.plus_ms(250))));
    assert_eq!(open.input.as_str(), r#"{"command":"x"}"#);
    assert_eq!(after(5).waits_for().unwrap().until, open.retry_at);
    assert_eq!((after(6).open_steps["a"].attempt, after(6).open_steps["a"].retry_at), (2, None));
    assert_eq!(after(7).steps, StepCounts { total: 1, running: 0, cached: 0 });
}

#[test]
fn a_retry_that_does_not_follow_its_failure_opens_nothing() {
    let state = job([
        submitted(),
        started(1, 1),
        step("a", "exec", 1, "{}"),
        finished("a", 1, StepOutcome::Error),
        EventBody::JobLogged(JobLogged { level: "info".into(), message: "between".into() }),
        retry("a", 1, 250),
    ]);
    assert!(state.open_steps.is_empty());
}

#[test]
fn when_something_is_due() {
    let begun = at(3_000);
    let cases = [
        ("sleep", r#"{"ms":1500}"#, Some(1_500)),
        ("sleep", r#"{"ms":1500.0}"#, Some(1_500)),
        ("wait_for", r#"{"signal":"go","timeout_ms":700}"#, Some(700)),
        ("wait_for", r#"{"signal":"go"}"#, None),
        ("approve", r#"{"details":{"timeout_ms":1},"title":"t"}"#, None),
        ("wait", r#"{"timeout_ms":20}"#, Some(20)),
        ("step", r#"{"name":"s","timeout_ms":40}"#, Some(40)),
        ("process_wait", r#"{"process":"p","timeout_ms":60}"#, Some(60)),
        ("workflow", r#"{"args":{"timeout_ms":5},"name":"w"}"#, None),
        ("exec", r#"{"command":"x","timeout_ms":10000}"#, None),
        ("sleep", r#""odd""#, None),
    ];
    for (kind, input, due_ms) in cases {
        let state = job([submitted(), started(1, 1), step("a", kind, 1, input)]);
        assert_eq!(state.next_due(), due_ms.map(|ms| begun.plus_ms(ms)), "{kind} {input}");
    }
    let mut submission = submission();
    submission.limits.timeout_ms = Some(300);
    let state =
        job([EventBody::JobSubmitted(submission.into()), started(1, 1), step("a", "sleep", 1, r#"{"ms":1500}"#)]);
    assert_eq!(state.next_due(), Some(at(2_300)), "the job's own limit comes first");
}

#[test]
fn a_waiting_job_has_work_when_what_it_waits_for_is_there() {
    let process = r#"{"process":"02020202-0202-0202-0000-000000000007"}"#;
    let wait =
        |kind: &str, input: &str| vec![submitted(), started(1, 1), step("a", kind, 1, input), waiting(WaitKind::Sleep)];
    let cases: Vec<(&str, Vec<EventBody>, Vec<EventBody>)> = vec![
        (
            "sleep",
            wait("sleep", r#"{"ms":99000}"#),
            vec![EventBody::JobCancelRequested(JobCancelRequested { reason: None })],
        ),
        ("signal", wait("wait_for", r#"{"signal":"go"}"#), vec![signalled("stop", None), signalled("go", None)]),
        ("approval", [wait("approve", "{}"), vec![approval_requested("a")]].concat(), vec![approval_decided("a")]),
    ];
    for (what, before, then) in cases {
        let mut bodies = before;
        assert!(!has_work(&bodies), "{what}: not yet");
        bodies.extend(then);
        assert!(has_work(&bodies), "{what}: now");
    }
    // Processes: one that runs, and one that does not.
    let mut events: Vec<NewEvent> = wait("process_wait", process).into_iter().map(NewEvent::from).collect();
    events.insert(2, NewEvent::new(process_started()).process(process_id(7)));
    let running = fold(&sequence([(StreamId::Job(job_id(1)), events.clone())]));
    assert!(!running.job(&job_id(1)).unwrap().has_work(at(9_000), &running));
    events.push(NewEvent::new(process_exited()).process(process_id(7)));
    let exited = fold(&sequence([(StreamId::Job(job_id(1)), events)]));
    assert!(exited.job(&job_id(1)).unwrap().has_work(at(9_000), &exited));
}

fn has_work(bodies: &[EventBody]) -> bool {
    let all = fold(&stream(bodies.to_vec()));
    all.job(&job_id(1)).unwrap().has_work(at(9_000), &all)
}

#[test]
fn a_parent_has_work_when_its_child_has_ended() {
    let mut child = submission();
    child.parent = Some(ParentRef { job: job_id(1), step: "w".into() });
    let parent = [submitted(), started(1, 1), step("w", "workflow", 1, "{}"), waiting(WaitKind::Child)];
    let mut appends = vec![
        (StreamId::Job(job_id(1)), parent.into_iter().map(NewEvent::from).collect::<Vec<_>>()),
        (StreamId::Job(job_id(2)), vec![EventBody::JobSubmitted(child.into()).into(), started(1, 1).into()]),
    ];
    let before = fold(&sequence(appends.clone()));
    let parent = before.job(&job_id(1)).unwrap();
    assert!(!parent.has_work(at(0), &before));
    assert_eq!(parent.live_children().collect::<Vec<_>>(), [job_id(2)]);
    appends.push((StreamId::Job(job_id(2)), vec![completed().into()]));
    let after = fold(&sequence(appends.clone()));
    let parent = after.job(&job_id(1)).unwrap();
    assert!(parent.has_work(at(0), &after));
    assert_eq!(parent.pending.as_ref().unwrap().child_of("w").unwrap().job, job_id(2));
    appends.push((StreamId::Job(job_id(1)), vec![finished("w", 1, StepOutcome::Ok).into()]));
    let done = fold(&sequence(appends));
    assert_eq!(done.job(&job_id(1)).unwrap().pending, None);
}

#[test]
fn signals_are_consumed_in_order_and_once() {
    let go = r#"{"signal":"go"}"#;
    let bodies = [
        submitted(),
        signalled("go", None),
        signalled("go", Some("k")),
        started(1, 1),
        step("a", "wait_for", 1, go),
        finished("a", 1, StepOutcome::Ok),
        step("b", "wait_for", 1, go),
        finished("b", 1, StepOutcome::TimedOut),
        EventBody::JobContinued(JobContinued { run: 2, args: Json::null() }),
        step("a", "wait_for", 1, go),
        finished("a", 1, StepOutcome::Ok),
    ];
    let next = |n: usize| job(bodies[..n].to_vec()).pending_signal("go").map(|signal| signal.position);
    assert_eq!(next(4), Some(2));
    assert_eq!(next(6), Some(3));
    assert_eq!(next(9), Some(3), "what times out consumes nothing, and a new run keeps what is left");
    assert_eq!(next(11), None);
}

#[test]
fn approvals_are_open_until_decided_or_closed() {
    let events = stream([submitted(), started(1, 1), step("a", "approve", 1, "{}"), approval_requested("a")]);
    let open = fold(&events).approvals();
    assert_eq!((open.len(), open[0].id.as_str(), open[0].title.as_deref()), (1, "a", Some("Ship it?")));
    for end in [approval_decided("a"), finished("a", 1, StepOutcome::TimedOut)] {
        let events = stream([submitted(), started(1, 1), step("a", "approve", 1, "{}"), approval_requested("a"), end]);
        assert_eq!(fold(&events).approvals(), []);
    }
}

#[test]
fn ended_processes_are_bounded() {
    let mut appends = Vec::new();
    for n in 0..1_200 {
        let id = process_id(n);
        let events = [process_started(), process_exited()].map(|body| NewEvent::new(body).process(id));
        appends.push((StreamId::Process(id), events.to_vec()));
    }
    appends.push((StreamId::Process(process_id(5_000)), vec![process_started().into()]));
    let all = fold(&sequence(appends));
    assert_eq!(all.processes().running().map(|p| p.id).collect::<Vec<_>>(), [process_id(5_000)]);
    assert_eq!(all.processes().ended().count(), 1_000);
    assert_eq!(all.processes().ended().next().unwrap().id, process_id(1_199));
    assert!(all.processes().get(&process_id(0)).is_none());
    let exited = all.processes().get(&process_id(1_199)).unwrap().exited.clone().unwrap();
    assert_eq!((exited.exit_code, exited.tail), (Some(0), None));
}

#[test]
fn a_filter_takes_what_fits_all_of_it() {
    let mut submission = submission();
    submission.labels = [("team".to_owned(), "a".to_owned())].into();
    submission.parent = Some(ParentRef { job: job_id(9), step: "w".into() });
    let state = job([EventBody::JobSubmitted(submission.into())]);
    let label = |text: &str| JobFilter { labels: vec![text.parse().unwrap()], ..JobFilter::default() };
    let cases = [
        (JobFilter::default(), true),
        (JobFilter { state: Some(JobStatus::Queued), ..JobFilter::default() }, true),
        (JobFilter { state: Some("timed_out".parse().unwrap()), ..JobFilter::default() }, false),
        (JobFilter { workflow: Some("build".into()), ..JobFilter::default() }, true),
        (JobFilter { workflow: Some("buil".into()), ..JobFilter::default() }, false),
        (JobFilter { parent: Some(job_id(9)), ..JobFilter::default() }, true),
        (JobFilter { parent: Some(job_id(8)), ..JobFilter::default() }, false),
        (JobFilter { since: Some(at(1_000)), ..JobFilter::default() }, true),
        (JobFilter { since: Some(at(1_001)), ..JobFilter::default() }, false),
        (JobFilter { queue: Some("default".into()), ..JobFilter::default() }, true),
        (JobFilter { queue: Some("other".into()), ..JobFilter::default() }, false),
        (JobFilter { ended: Some(false), ..JobFilter::default() }, true),
        (JobFilter { ended: Some(true), ..JobFilter::default() }, false),
        (JobFilter { exhausted: Some(false), ..JobFilter::default() }, true),
        (JobFilter { exhausted: Some(true), ..JobFilter::default() }, false),
        (label("team"), true),
        (label("team=a"), true),
        (label("team=b"), false),
        (label("tea"), false),
        (JobFilter { state: Some(JobStatus::Queued), workflow: Some("x".into()), ..JobFilter::default() }, false),
    ];
    for (filter, fits) in cases {
        assert_eq!(filter.fits(&state), fits, "{filter:?}");
    }
    assert!("".parse::<LabelFilter>().is_err() && "=a".parse::<LabelFilter>().is_err());
    assert!("done".parse::<JobStatus>().is_err());
}
