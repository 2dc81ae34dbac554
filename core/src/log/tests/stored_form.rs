//! Stored bytes are for ever. When one of these changes, old logs can no longer be read: give the changed struct a new
//! schema number and convert from the old one, instead of accepting the new bytes.

use super::*;
use crate::{
    error_info::ErrorInfo,
    event::*,
    id::{Hash, ProcessId, SessionId},
    json::Json,
    log::{
        frame::{Frame, FrameBuilder},
        index::Index,
        record::{Record, StoredBody, put_event, read_record},
        removed::RemovedRecord,
    },
    storage::Space,
};
use std::fmt::Write as _;

fn json(text: &str) -> Json {
    Json::parse(text).unwrap()
}

fn error() -> ErrorInfo {
    ErrorInfo {
        code: "step_failed".into(),
        message: "no".into(),
        traceback: Some("line 1".into()),
        retryable: true,
        details: Some(json("{\"a\":1}")),
    }
}

fn hash(n: u8) -> Hash {
    Hash::from_bytes([n; 32])
}

fn id(n: u8) -> JobId {
    JobId::from_bytes([n; 16])
}

fn text(text: &str) -> String {
    text.into()
}

fn closed_workspace() -> WorkspaceClosed {
    WorkspaceClosed {
        path: text("/w"),
        removed: true,
        branch: Some(text("moonlog/s")),
        unmerged_commits: 2,
        uncommitted: vec![text("a.rs")],
        note: Some(text("why")),
    }
}

/// One event of every type, with every field set.
fn samples() -> Vec<EventBody> {
    let time = Timestamp::from_micros(1_795_000_000_000_001);
    let session = SessionId::from_bytes([7; 16]);
    let cost = Some(crate::cost::Cost::of_units(0.5));
    let (prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens) = (1, 2, 3, 4);
    let estimated = true;
    let usage = JobUsage { prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens, cost, estimated };
    let chat_usage = ChatUsage { prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens, cost, estimated };
    vec![
        EventBody::JobSubmitted(Arc::new(JobSubmitted {
            workflow: text("w"),
            script_hash: hash(1),
            args: json("{\"n\":300}"),
            idempotency_key: Some(text("key")),
            request_hash: Some(hash(2)),
            queue: text("default"),
            priority: -5,
            run_at: Some(time),
            limits: JobLimits { timeout_ms: Some(1000), budget_tokens: Some(70_000), nesting: 3 },
            seed: u64::MAX,
            parent: Some(ParentRef { job: id(1), step: text("a/b") }),
            resume_from: Some(id(2)),
            forked_from: Some(ForkRef { job: id(3), at: 9 }),
            concurrency_key: Some(text("repo")),
            retry: Some(JobRetryPolicy {
                max: 3,
                backoff_ms: 10,
                factor: 1.5,
                max_backoff_ms: 100,
                on: vec![text("timeout")],
                not_on: vec![text("denied"), text("limit_*")],
            }),
            labels: [(text("k"), text("v"))].into(),
            session: Some(session),
            imported: true,
        })),
        EventBody::JobStarted(JobStarted { attempt: 1, run: 2, runner: text("moonlog 0.1.0") }),
        EventBody::JobRetryScheduled(JobRetryScheduled { attempt: 1, wait_ms: 250, error: error() }),
        EventBody::JobContinued(JobContinued { run: 2, args: json("[]") }),
        EventBody::JobWaiting(JobWaiting {
            reason: WaitKind::Capacity,
            step: Some(text("s")),
            name: Some(text("n")),
            title: Some(text("t")),
            until: Some(time),
        }),
        EventBody::JobResumed(JobResumed {}),
        EventBody::JobPhaseEntered(JobPhaseEntered { title: text("build") }),
        EventBody::JobLogged(JobLogged { level: text("info"), message: text("hello") }),
        EventBody::JobEmitted(JobEmitted { name: text("n"), value: json("1.5") }),
        EventBody::JobSignalled(JobSignalled {
            name: text("go"),
            payload: json("true"),
            idempotency_key: Some(text("k")),
        }),
        EventBody::JobCancelRequested(JobCancelRequested { reason: Some(text("r")) }),
        EventBody::JobCompleted(JobCompleted { result: json("null"), usage }),
        EventBody::JobFailed(JobFailed { error: error() }),
        EventBody::JobCancelled(JobCancelled { reason: Some(text("r")) }),
        EventBody::JobTimedOut(JobTimedOut { limit: text("timeout_ms") }),
        EventBody::StepStarted(StepStarted {
            run: 1,
            path: text("a/b:2"),
            name: text("b"),
            kind: text("exec"),
            spec_hash: hash(3),
            attempt: 1,
            input: json("{}"),
        }),
        EventBody::StepFinished(StepFinished {
            run: 1,
            path: text("a/b:2"),
            attempt: 2,
            outcome: StepOutcome::Skipped,
            output: Some(json("\"out\"")),
            error: Some(error()),
            latency_ms: 12,
            cached: true,
            cached_from: Some(CachedFrom { job: id(4), position: 300 }),
            tokens_spent: Some(180),
        }),
        EventBody::StepRetryScheduled(StepRetryScheduled {
            run: 1,
            path: text("a"),
            attempt: 1,
            wait_ms: 100,
            error: error(),
        }),
        EventBody::SessionCreated(SessionCreated { workspace: json("{}"), agent: json("[1]") }),
        EventBody::SessionTurnStarted(SessionTurn { job: id(5), turn: 1 }),
        EventBody::SessionTurnEnded(SessionTurn { job: id(5), turn: 1 }),
        EventBody::SessionClosed(SessionClosed {}),
        EventBody::ChatMessageAdded(ChatMessageAdded {
            message: text("m1"),
            role: text("user"),
            parts: json("[]"),
            turn: 1,
        }),
        EventBody::ChatMessageQueued(ChatMessageQueued { message: text("m2"), parts: json("[]") }),
        EventBody::ChatMessageDropped(ChatMessageDropped { message: text("m2") }),
        EventBody::ChatStarted(ChatStarted { turn: 1, model: text("m"), backend: text("b"), request_hash: hash(4) }),
        EventBody::ChatRetryScheduled(ChatRetryScheduled { attempt: 1, wait_ms: 5, status: 429 }),
        EventBody::ChatDelta(ChatDelta { turn: 1, channel: text("text"), seq: 2, text: text("he") }),
        EventBody::ChatFinished(ChatFinished {
            turn: 1,
            finish_reason: text("stop"),
            usage: chat_usage,
            latency_ms: 10,
            first_token_ms: Some(2),
            error: Some(error()),
        }),
        EventBody::ChatCompacted(ChatCompacted {
            turn: 3,
            summary: text("s"),
            messages_before: 10,
            tokens_before: 1000,
            tokens_after: 100,
        }),
        EventBody::ToolStarted(ToolStarted {
            call_id: text("c"),
            name: text("read"),
            input: json("{}"),
            turn: Some(1),
        }),
        EventBody::ToolFinished(ToolFinished {
            call_id: text("c"),
            outcome: StepOutcome::Error,
            output: json("{}"),
            truncated: Some(json("{\"bytes\":5}")),
            diff: Some(text("+a")),
            latency_ms: 7,
        }),
        EventBody::ToolApprovalRequested(ToolApprovalRequested {
            call_id: text("c"),
            name: text("approve"),
            input: json("{}"),
        }),
        EventBody::ToolApprovalDecided(ToolApprovalDecided {
            call_id: text("c"),
            decision: Decision::Denied,
            by: Some(text("me")),
            note: Some(text("why")),
        }),
        EventBody::ProcessStarted(ProcessStarted {
            command: text("ls"),
            args: vec![text("-l"), text("/")],
            workdir: text("/w"),
            pid: 4711,
            background: true,
            description: Some(text("d")),
        }),
        EventBody::ProcessOutput(ProcessOutput {
            fd: 2,
            seq: 1,
            text: Some(text("x\n")),
            base64: Some(text("AA==")),
            capped: true,
        }),
        EventBody::ProcessBackgrounded(ProcessBackgrounded { reason: text("requested") }),
        EventBody::ProcessExited(ProcessExited {
            outcome: ProcessOutcome::Lost,
            exit_code: Some(-1),
            signal: Some(text("SIGKILL")),
            wall_ms: 99,
            output_bytes: 70_000,
            tail: Some(text("end")),
        }),
        EventBody::WorkspaceCreated(WorkspaceCreated {
            path: text("/w"),
            kind: text("worktree"),
            base_commit: Some(text("abc")),
        }),
        EventBody::WorkspaceCollisionDetected(WorkspaceCollisionDetected {
            path: text("a.rs"),
            with: session,
            proximity: text("same_line"),
        }),
        EventBody::FileChanged(FileChanged {
            path: text("a.rs"),
            op: text("edited"),
            diff: text("-a"),
            before_hash: Some(hash(5)),
            after_hash: Some(hash(6)),
        }),
        EventBody::ScheduleSet(ScheduleSet {
            cron: text("* * * * *"),
            workflow: text("w"),
            args: json("{}"),
            time_zone: text("Europe/Berlin"),
            overlap: Overlap::Replace,
            catch_up: CatchUp::All,
            jitter_ms: 300,
            queue: Some(text("q")),
            labels: [(text("k"), text("v"))].into(),
            paused: true,
        }),
        EventBody::ScheduleFired(ScheduleFired {
            job: Some(id(6)),
            due: Some(time),
            skipped: Some(ScheduleSkipped::Missed),
            error: Some(error()),
        }),
        EventBody::ScheduleRemoved(ScheduleRemoved {}),
        EventBody::RunnerStarted(RunnerStarted {
            version: text("0.1.0"),
            config: json("{}"),
            repaired: Some(json("{\"torn_tail\":\"x\"}")),
        }),
        EventBody::RunnerStopped(RunnerStopped { version: text("0.1.0") }),
        EventBody::QueuePaused(QueueChanged { queue: text("q") }),
        EventBody::QueueResumed(QueueChanged { queue: text("q") }),
        EventBody::ProcessStalled(ProcessStalled { idle_ms: 45_000, tail: text("Continue? [y/N] ") }),
        EventBody::ProcessTokenClaimed(ProcessTokenClaimed { client_token: text("t"), request_hash: hash(7) }),
        EventBody::WorkspaceRequested(WorkspaceRequested {
            kind: text("worktree"),
            path: text("/w"),
            repository: Some(text("/r/.git")),
            base: Some(text("refs/heads/main")),
            base_commit: Some(text("abc")),
            branch: Some(text("moonlog/s")),
            recreated: true,
            set_aside: Some(text("/w.broken")),
        }),
        EventBody::WorkspaceScanned(WorkspaceScanned {
            base_commit: text("abc"),
            files: vec![ScannedFile {
                path: text("a.rs"),
                op: text("edited"),
                lines: vec![Lines { start: 300, count: 2 }],
                after_hash: Some(hash(6)),
            }],
            omitted: 4,
        }),
        EventBody::WorkspaceClosed(closed_workspace()),
        EventBody::WorkspaceMerged(WorkspaceMerged {
            branch: text("moonlog/s"),
            into: text("refs/heads/main"),
            how: text("fast_forward"),
            commit: text("abc"),
            head: text("def"),
            saved: Some(text("def")),
            files: vec![text("a.rs")],
        }),
        EventBody::WorkspaceReverted(WorkspaceReverted { paths: vec![text("a.rs")] }),
        EventBody::WorkspaceFailed(WorkspaceFailed { error: error() }),
        EventBody::WorkspaceOrphanFound(WorkspaceOrphanFound {
            path: text("/w"),
            owner: Some(session),
            kept: closed_workspace(),
        }),
        EventBody::SessionDescribed(SessionDescribed {
            title: Some(text("t")),
            labels: [(text("k"), text("v"))].into(),
        }),
        EventBody::WebhookConfigured(WebhookConfigured { webhook: text("w"), types: vec![text("job.failed")] }),
        EventBody::WebhookDelivered(WebhookDelivered {
            webhook: text("w"),
            event: 300,
            id: text("msg_1"),
            attempt: 2,
            status: 204,
            latency_ms: 12,
            recorded_until: 299,
        }),
        EventBody::WebhookRetryScheduled(WebhookRetryScheduled {
            webhook: text("w"),
            event: 300,
            id: text("msg_1"),
            attempt: 1,
            wait_ms: 5_000,
            status: Some(503),
            error: Some(error()),
            recorded_until: 300,
        }),
        EventBody::WebhookFailed(WebhookFailed {
            webhook: text("w"),
            event: 300,
            id: text("msg_1"),
            attempt: 12,
            status: Some(410),
            error: error(),
            recorded_until: 301,
        }),
        EventBody::ChatWaiting(ChatWaiting {
            turn: 2,
            model: text("main"),
            limit: text("requests_per_minute"),
            until: time,
        }),
        EventBody::JobDeleted(JobDeleted {
            reason: DeleteReason::Bytes,
            events: 300,
            first_position: 2,
            last_position: 70_000,
            sessions: vec![session],
            in_sessions: vec![SessionId::from_bytes([8; 16])],
            exported: Some(text("job.ndjson.gz")),
        }),
        EventBody::SessionConfigured(SessionConfigured { wake: true, budget_tokens: Some(70_000) }),
        EventBody::SessionStatusChanged(SessionStatusChanged { to: text("archived") }),
        EventBody::SessionWakeRequested(SessionWakeRequested { of: text("p") }),
        EventBody::SessionWoken(SessionWoken { job: id(8), of: vec![text("p")] }),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn wrapped(bytes: &[u8]) -> String {
    bytes.chunks(48).map(|line| format!("  {}\n", hex(line))).collect()
}

#[test]
fn the_fields_of_every_type() {
    let samples = samples();
    assert_eq!(samples.iter().map(EventBody::name).collect::<Vec<_>>(), EventBody::NAMES);
    let mut golden = String::new();
    for body in samples {
        let bytes = body.encode().unwrap();
        assert_eq!(EventBody::decode(body.code(), body.schema(), &bytes).unwrap(), body);
        assert_eq!(EventBody::from_data_json(body.name(), &body.data_json()).unwrap(), body);
        let _ = write!(golden, "{} {}\n{}", body.code(), body.name(), wrapped(&bytes));
    }
    insta::assert_snapshot!("bodies", golden);
}

/// What older versions of moonlog wrote, and what it means now.
#[test]
fn older_forms() {
    let set = ScheduleSet {
        cron: text("* * * * *"),
        workflow: text("w"),
        args: json("{}"),
        time_zone: text("UTC"),
        ..ScheduleSet::default()
    };
    let fired = ScheduleFired { job: Some(id(6)), ..ScheduleFired::default() };
    let step = samples().into_iter().find_map(|body| match body {
        EventBody::StepFinished(step) => Some(step),
        _ => None,
    });
    let job = samples().into_iter().find_map(|body| match body {
        EventBody::JobSubmitted(job) => Some(JobSubmitted::clone(&job)),
        _ => None,
    });
    let retry = RetryPolicy { max: 3, backoff_ms: 10, factor: 1.5, max_backoff_ms: 100 };
    let job = JobSubmitted { retry: Some(retry.into()), ..job.unwrap() };
    let cached_from = Some(CachedFrom { job: id(4), position: 0 });
    let untold = StepFinished { tokens_spent: None, ..step.unwrap() };
    let step = StepFinished { cached_from, ..untold.clone() };
    const JOB: &str = "01770101010101010101010101010101010101010101010101010101010101010101097b226e223a3330307d01036b6579010202\
                       0202020202020202020202020202020202020202020202020202020202020764656661756c740901fd0260be0216c10c0001fbe8\
                       0301fc7011010003fdffffffffffffffff010101010101010101010101010101010103612f620102020202020202020202020202\
                       02020201030303030303030303030303030303030901047265706f01030a000000000000f83f6401016b01760107070707070707\
                       07070707070707070701";
    const STEP: &str = "0105612f623a3202050105226f757422010b737465705f6661696c6564026e6f01066c696e6520310101077b2261223a\
                        317d0c010104040404040404040404040404040404";
    const UNTOLD: &str = "0105612f623a3202050105226f757422010b737465705f6661696c6564026e6f01066c696e6520310101077b2261\
                          223a317d0c010104040404040404040404040404040404fb2c01";
    const CHAT: &str = "010473746f70010203040a0102010b737465705f6661696c6564026e6f01066c696e6520310101077b2261223a317d";
    let (mut completed, mut chat) = (None, None);
    for body in samples() {
        match body {
            EventBody::JobCompleted(event) => {
                let usage = JobUsage { cost: None, estimated: false, ..event.usage };
                completed = Some(EventBody::JobCompleted(JobCompleted { usage, ..event }));
            }
            EventBody::ChatFinished(event) => {
                let usage = ChatUsage { cost: None, estimated: false, ..event.usage };
                chat = Some(EventBody::ChatFinished(ChatFinished { usage, ..event }));
            }
            _ => {}
        }
    }
    let older: [(u16, u8, &str, EventBody); 7] = [
        (1, 1, JOB, EventBody::JobSubmitted(job.into())),
        (12, 1, "046e756c6c01020304", completed.unwrap()),
        (29, 1, CHAT, chat.unwrap()),
        (17, 1, STEP, EventBody::StepFinished(step)),
        (17, 2, UNTOLD, EventBody::StepFinished(untold)),
        (42, 1, "092a202a202a202a202a0177027b7d", EventBody::ScheduleSet(set)),
        (43, 1, "0106060606060606060606060606060606", EventBody::ScheduleFired(fired)),
    ];
    for (code, schema, bytes, body) in older {
        assert!(schema < body.schema());
        assert_eq!(EventBody::decode(code, schema, &unhex(bytes)).unwrap(), body);
    }
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn every_value_of_an_enum() {
    use crate::codec::encode;
    let waits =
        [WaitKind::Sleep, WaitKind::Signal, WaitKind::Approval, WaitKind::Child, WaitKind::Process, WaitKind::Capacity];
    let steps = [
        StepOutcome::Ok,
        StepOutcome::Error,
        StepOutcome::TimedOut,
        StepOutcome::Cancelled,
        StepOutcome::Interrupted,
        StepOutcome::Skipped,
    ];
    let processes = [
        ProcessOutcome::Exited,
        ProcessOutcome::Signalled,
        ProcessOutcome::TimedOut,
        ProcessOutcome::Killed,
        ProcessOutcome::Lost,
    ];
    assert_eq!(waits.map(|value| encode(&value).unwrap()), [[0], [1], [2], [3], [4], [5]]);
    assert_eq!(steps.map(|value| encode(&value).unwrap()), [[0], [1], [2], [3], [4], [5]]);
    assert_eq!(processes.map(|value| encode(&value).unwrap()), [[0], [1], [2], [3], [4]]);
    assert_eq!([Decision::Approved, Decision::Denied].map(|value| encode(&value).unwrap()), [[0], [1]]);
    let overlaps = [Overlap::Skip, Overlap::Queue, Overlap::Replace];
    assert_eq!(overlaps.map(|value| encode(&value).unwrap()), [[0], [1], [2]]);
    let catch_ups = [CatchUp::None, CatchUp::Last, CatchUp::All];
    assert_eq!(catch_ups.map(|value| encode(&value).unwrap()), [[0], [1], [2]]);
    let skipped = [ScheduleSkipped::Overlap, ScheduleSkipped::Missed, ScheduleSkipped::Refused];
    assert_eq!(skipped.map(|value| encode(&value).unwrap()), [[0], [1], [2]]);
}

/// Events whose envelopes have nothing, and everything, in every kind of stream.
fn envelopes() -> Vec<(Event, bool)> {
    let bare = |stream: StreamId| Event {
        position: 300,
        stream,
        version: 200,
        time: Timestamp::from_micros(1_795_000_000_000_001),
        job: None,
        session: None,
        process: None,
        step: None,
        cause: None,
        origin: None,
        body: EventBody::JobResumed(JobResumed {}),
        blob: None,
    };
    let (session, process) = (SessionId::from_bytes([2; 16]), ProcessId::from_bytes([3; 16]));
    let full = Event {
        job: Some(id(9)),
        session: Some(session),
        process: Some(process),
        step: Some("a/ä".into()),
        cause: Some(299),
        body: EventBody::JobCancelled(JobCancelled { reason: None }),
        ..bare(StreamId::Job(id(1)))
    };
    vec![
        (bare(StreamId::System), false),
        (Event { job: Some(id(1)), ..bare(StreamId::Job(id(1))) }, false),
        (Event { session: Some(session), ..bare(StreamId::Session(session)) }, false),
        (Event { process: Some(process), job: Some(id(4)), ..bare(StreamId::Process(process)) }, false),
        (bare(StreamId::Schedule("nightly".into())), false),
        (full.clone(), false),
        (full.clone(), true),
        (
            Event {
                origin: Some(Origin { position: 1_000, time: Timestamp::from_micros(1_700_000_000_000_007) }),
                ..full
            },
            false,
        ),
    ]
}

#[test]
fn the_envelope() {
    let mut golden = String::new();
    for (mut event, apart) in envelopes() {
        let (fields, data) = (event.body.encode().unwrap(), event.body.data_json());
        let body = if apart {
            event.blob = Some((Hash::of(data.as_bytes()), data.len() as u64));
            StoredBody::Blob(Hash::of(data.as_bytes()), data.len() as u64)
        } else {
            StoredBody::Inline(&fields)
        };
        let mut record = Vec::new();
        put_event(&mut record, &event, body);
        let Record::Event(stored) = read_record(&record).unwrap() else { panic!("no event") };
        assert_eq!(stored.closes, event.body.is_terminal());
        assert_eq!(stored.decode(event.position, apart.then_some(&data)).unwrap(), event);
        for length in 0..record.len() - usize::from(!fields.is_empty() || apart) {
            // Cut short, it is refused, or at least not taken for the same.
            if let Ok(Record::Event(cut)) = read_record(&record[..length]) {
                assert!(cut.decode(event.position, Some(&data)).ok() != Some(event.clone()) || fields.is_empty());
            }
        }
        let _ = write!(golden, "{}{}\n{}", event.stream, if apart { " (apart)" } else { "" }, wrapped(&record));
    }
    insta::assert_snapshot!("envelopes", golden);
}

#[test]
fn what_is_left_of_a_removed_event() {
    // Of the first kind, which no version has written.
    let mut record = vec![2, 1];
    record.extend([1; 16]);
    record.extend([200, 1]);
    record.extend([7; 32]);
    let Record::Removed(removed) = read_record(&record).unwrap() else { panic!("an event") };
    assert_eq!((&removed.stream, removed.version, removed.hash), (&job(1), 200, hash(7)));
    let left = removed.at(9);
    assert_eq!((left.position, left.name, left.job), (9, None, Some(id(1))));
    // Of the kind that is written.
    let record = put_record("secret");
    let Ok(Record::Event(event)) = read_record(&record) else { panic!("no event") };
    let bytes = RemovedRecord::of(&event, hash(7)).to_bytes();
    insta::assert_snapshot!("removed", wrapped(&bytes));
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        assert!(!matches!(read_record(&flipped), Ok(Record::Removed(left)) if left.stream != job(1)), "byte {at}");
        assert!(read_record(&flipped).is_err() || at == 0, "byte {at}");
    }
    let Record::Removed(removed) = read_record(&bytes).unwrap() else { panic!("an event") };
    let left = removed.at(9);
    assert_eq!((left.stream, left.version, left.name), (job(1), 1, Some("job.logged")));
}

#[test]
fn the_chain_stays_whole_when_an_event_is_removed() {
    let (first, second) = (put_record("secret"), put_record("kept"));
    let mut builder = FrameBuilder::new(1, 0);
    builder.push(|out| out.extend_from_slice(&first));
    builder.push(|out| out.extend_from_slice(&second));
    let (key, mut value, hash) = builder.finish(Hash::ZERO);

    let mut left = vec![2, 1];
    left.extend([1; 16]);
    left.push(1);
    left.extend_from_slice(Hash::of(&first).as_bytes());
    let at = value.len() - second.len() - 4 - first.len() - 4;
    let tail = value.split_off(at + 4 + first.len());
    value.truncate(at);
    value.extend_from_slice(&(left.len() as u32).to_le_bytes());
    value.extend_from_slice(&left);
    value.extend_from_slice(&tail);
    let length = (value.len() - 73) as u32;
    value[1..5].copy_from_slice(&length.to_le_bytes());
    assert_eq!(Frame::read(&key, value).unwrap().hash, hash);
}

fn put_record(message: &str) -> Vec<u8> {
    let version = if message == "secret" { 1 } else { 2 };
    let event = Event {
        position: version,
        stream: job(1),
        version,
        time: Timestamp::from_micros(1),
        job: Some(id(1)),
        session: None,
        process: None,
        step: None,
        cause: None,
        origin: None,
        body: said(message).body,
        blob: None,
    };
    let mut record = Vec::new();
    put_event(&mut record, &event, StoredBody::Inline(&event.body.encode().unwrap()));
    record
}

#[test]
fn a_log_as_a_whole() {
    let (log, storage) = empty();
    put(&log, saying(&job(1), &["a", "b"]));
    put(&log, Append::new(job(2), Expected::NoStream, vec![said("c"), ended()]));
    put(&log, saying(&job(1), &["d".repeat(40_000).as_str()]));
    log.close();
    let mut golden = String::new();
    for space in Space::ALL {
        for key in storage.keys(space) {
            let value = storage.get(space, &key).unwrap().unwrap();
            let shown =
                if value.len() > 1000 { Hash::of(&value).to_string() } else { format!("\n{}", wrapped(&value)) };
            let _ = writeln!(golden, "{} {}: {}", space.name(), hex(&key), shown.trim_end());
        }
    }
    assert_eq!(Index::new(storage.clone()).checkpoint().unwrap(), Some(5));
    insta::assert_snapshot!("log", golden);
}
