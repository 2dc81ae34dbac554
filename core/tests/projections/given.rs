//! Short ways to say what happened.

use moonlog_core::{
    error_info::ErrorInfo,
    event::*,
    id::{Hash, JobId, ProcessId, SessionId},
    json::Json,
    time::Timestamp,
};
use std::sync::Arc;

/// A point in time, `ms` milliseconds after the first.
pub fn at(ms: u64) -> Timestamp {
    Timestamp::from_micros(1_760_000_000_000_000).plus_ms(ms)
}

/// The `n`th job; later ones have greater ids.
pub fn job_id(n: u64) -> JobId {
    let mut bytes = [1; 16];
    bytes[8..].copy_from_slice(&n.to_be_bytes());
    JobId::from_bytes(bytes)
}

/// The `n`th process.
pub fn process_id(n: u64) -> ProcessId {
    let mut bytes = [2; 16];
    bytes[8..].copy_from_slice(&n.to_be_bytes());
    ProcessId::from_bytes(bytes)
}

/// The `n`th session.
pub fn session_id(n: u64) -> SessionId {
    let mut bytes = [3; 16];
    bytes[8..].copy_from_slice(&n.to_be_bytes());
    SessionId::from_bytes(bytes)
}

pub fn session_created() -> EventBody {
    let agent = Json::parse(r#"{"model":"main"}"#).unwrap();
    EventBody::SessionCreated(SessionCreated { workspace: Json::null(), agent })
}

pub fn workspace_requested(kind: &str) -> EventBody {
    let base = (kind == "worktree").then(|| "refs/heads/main".to_owned());
    EventBody::WorkspaceRequested(WorkspaceRequested {
        kind: kind.into(),
        path: "/w".into(),
        repository: base.is_some().then(|| "/r/.git".into()),
        base,
        ..WorkspaceRequested::default()
    })
}

pub fn workspace_created(kind: &str) -> EventBody {
    EventBody::WorkspaceCreated(WorkspaceCreated { path: "/w".into(), kind: kind.into(), base_commit: None })
}

pub fn file_changed(path: &str, op: &str, diff: &str, hashes: (Option<u8>, Option<u8>)) -> EventBody {
    EventBody::FileChanged(FileChanged {
        path: path.into(),
        op: op.into(),
        diff: diff.into(),
        before_hash: hashes.0.map(|n| Hash::of(&[n])),
        after_hash: hashes.1.map(|n| Hash::of(&[n])),
    })
}

pub fn webhook_configured(webhook: &str, types: &[&str]) -> EventBody {
    let types = types.iter().map(|kind| (*kind).to_owned()).collect();
    EventBody::WebhookConfigured(WebhookConfigured { webhook: webhook.into(), types })
}

pub fn webhook_delivered(webhook: &str, event: u64, recorded_until: u64) -> EventBody {
    EventBody::WebhookDelivered(WebhookDelivered {
        webhook: webhook.into(),
        event,
        id: "m".into(),
        attempt: 1,
        status: 204,
        latency_ms: 1,
        recorded_until,
    })
}

pub fn webhook_retry(webhook: &str, event: u64, attempt: u32, recorded_until: u64) -> EventBody {
    EventBody::WebhookRetryScheduled(WebhookRetryScheduled {
        webhook: webhook.into(),
        event,
        id: "m".into(),
        attempt,
        wait_ms: 5_000,
        status: Some(503),
        error: (attempt > 0).then(|| ErrorInfo::new("webhook_status", "503")),
        recorded_until,
    })
}

pub fn webhook_failed(webhook: &str, event: u64, recorded_until: u64) -> EventBody {
    EventBody::WebhookFailed(WebhookFailed {
        webhook: webhook.into(),
        event,
        id: "m".into(),
        attempt: 12,
        status: None,
        error: ErrorInfo::new("connect_failed", "no"),
        recorded_until,
    })
}

pub fn submission() -> JobSubmitted {
    JobSubmitted {
        workflow: "build".into(),
        script_hash: Hash::ZERO,
        args: Json::parse(r#"{"n":1}"#).unwrap(),
        idempotency_key: None,
        request_hash: None,
        queue: "default".into(),
        priority: 0,
        run_at: None,
        limits: JobLimits::default(),
        seed: 1,
        parent: None,
        resume_from: None,
        forked_from: None,
        concurrency_key: None,
        retry: None,
        labels: Default::default(),
        session: None,
        imported: false,
    }
}

pub fn submitted() -> EventBody {
    EventBody::JobSubmitted(submission().into())
}

pub fn started(attempt: u32, run: u32) -> EventBody {
    EventBody::JobStarted(JobStarted { attempt, run, runner: "test".into() })
}

pub fn step(path: &str, kind: &str, attempt: u32, input: &str) -> EventBody {
    let last = path.rsplit('/').next().unwrap();
    EventBody::StepStarted(StepStarted {
        run: 1,
        path: path.into(),
        name: last.split(':').next().unwrap().into(),
        kind: kind.into(),
        spec_hash: Hash::ZERO,
        attempt,
        input: Json::parse(input).unwrap(),
    })
}

pub fn finished(path: &str, attempt: u32, outcome: StepOutcome) -> EventBody {
    EventBody::StepFinished(StepFinished {
        run: 1,
        path: path.into(),
        attempt,
        outcome,
        output: (outcome == StepOutcome::Ok).then(Json::null),
        error: (outcome != StepOutcome::Ok).then(|| ErrorInfo::new("step_failed", "it failed")),
        latency_ms: 5,
        cached: false,
        cached_from: None,
        tokens_spent: None,
    })
}

pub fn retry(path: &str, attempt: u32, wait_ms: u64) -> EventBody {
    let error = ErrorInfo::new("step_failed", "it failed");
    EventBody::StepRetryScheduled(StepRetryScheduled { run: 1, path: path.into(), attempt, wait_ms, error })
}

pub fn waiting(reason: WaitKind) -> EventBody {
    EventBody::JobWaiting(JobWaiting { reason, step: None, name: None, title: None, until: None })
}

pub fn signalled(name: &str, key: Option<&str>) -> EventBody {
    EventBody::JobSignalled(JobSignalled {
        name: name.into(),
        payload: Json::null(),
        idempotency_key: key.map(Into::into),
    })
}

pub fn approval_requested(call_id: &str) -> EventBody {
    let input = Json::parse(r#"{"details":{"risk":3},"title":"Ship it?"}"#).unwrap();
    EventBody::ToolApprovalRequested(ToolApprovalRequested { call_id: call_id.into(), name: "approve".into(), input })
}

pub fn approval_decided(call_id: &str) -> EventBody {
    EventBody::ToolApprovalDecided(ToolApprovalDecided {
        call_id: call_id.into(),
        decision: Decision::Approved,
        by: Some("ann".into()),
        note: None,
    })
}

pub fn process_started() -> EventBody {
    EventBody::ProcessStarted(ProcessStarted {
        command: "sleep".into(),
        args: vec!["9".into()],
        workdir: "/".into(),
        pid: 7,
        background: false,
        description: None,
    })
}

pub fn token_claimed(token: &str) -> EventBody {
    let request_hash = Hash::of(token.as_bytes());
    EventBody::ProcessTokenClaimed(ProcessTokenClaimed { client_token: token.into(), request_hash })
}

pub fn process_exited() -> EventBody {
    EventBody::ProcessExited(ProcessExited {
        outcome: ProcessOutcome::Exited,
        exit_code: Some(0),
        signal: None,
        wall_ms: 10,
        output_bytes: 6,
        tail: Some("tail".into()),
    })
}

pub fn completed() -> EventBody {
    EventBody::JobCompleted(JobCompleted { result: Json::parse("[1]").unwrap(), usage: JobUsage::default() })
}

/// These events as the stream of job 1, a second apart.
pub fn stream(bodies: impl IntoIterator<Item = EventBody>) -> Vec<Arc<Event>> {
    let events = bodies.into_iter().map(NewEvent::from);
    sequence([(StreamId::Job(job_id(1)), events.collect())])
}

/// Gives events what an append gives them; one second passes with each.
pub fn sequence(appends: impl IntoIterator<Item = (StreamId, Vec<NewEvent>)>) -> Vec<Arc<Event>> {
    let mut versions = std::collections::HashMap::new();
    let mut events = Vec::new();
    for (stream, new) in appends {
        for new in new {
            let position = events.len() as u64 + 1;
            let version: &mut u64 = versions.entry(stream.clone()).or_default();
            *version += 1;
            let job = match &stream {
                StreamId::Job(id) => Some(*id),
                _ => new.job,
            };
            let process = match &stream {
                StreamId::Process(id) => Some(*id),
                _ => new.process,
            };
            events.push(Arc::new(Event {
                position,
                stream: stream.clone(),
                version: *version,
                time: at(position * 1_000),
                job,
                session: match &stream {
                    StreamId::Session(id) => Some(*id),
                    _ => new.session,
                },
                process,
                step: new.step,
                cause: new.cause.map(|cause| cause.position(position)),
                origin: new.origin,
                body: new.body,
                blob: None,
            }));
        }
    }
    events
}
