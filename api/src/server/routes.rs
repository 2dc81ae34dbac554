//! Every path with its methods: what the router goes by, and what `/openapi.json` is made of.

use super::route::{Endpoint, Route, delete, get, patch, post, put};

const FEED: &[&str] = &["after", "types", "job", "session", "process", "follow", "limit", "ticket"];
const FEED_ANSWERS: &[(u16, &str)] = &[(200, "EventPage"), (200, "text/event-stream"), (200, "application/x-ndjson")];
const FEED_OF_JOB_ANSWERS: &[(u16, &str)] =
    &[(200, "EventPage"), (200, "text/event-stream"), (200, "application/x-ndjson"), (204, "")];

/// All of them.
pub const ROUTES: &[Route] = &[
    Route {
        path: "/v1/jobs",
        operations: &[
            post(Endpoint::SubmitJob, &[(201, "Job"), (200, "Job"), (202, "Job")], "Submit a job")
                .query(&["wait"])
                .body("Submit")
                .problems(&[404, 409, 422, 429]),
            get(Endpoint::ListJobs, &[(200, "JobPage")], "List jobs, newest first").query(&[
                "state",
                "workflow",
                "queue",
                "label",
                "parent",
                "since",
                "exhausted",
                "limit",
                "cursor",
            ]),
        ],
    },
    Route {
        path: "/v1/jobs/cancel",
        operations: &[
            post(Endpoint::CancelJobs, &[(200, "BulkReport")], "Cancel the jobs that fit a filter").body("CancelJobs")
        ],
    },
    Route {
        path: "/v1/jobs/retry",
        operations: &[post(
            Endpoint::RetryJobs,
            &[(200, "BulkReport")],
            "Run the ended jobs that fit a filter again: those that failed, where it names no state",
        )
        .body("RetryJobs")],
    },
    Route {
        path: "/v1/jobs/{id}",
        operations: &[
            get(Endpoint::ShowJob, &[(200, "Job"), (202, "Job")], "Show a job, or wait for its end")
                .query(&["wait"])
                .problems(&[404]),
            delete(Endpoint::DeleteJob, "Delete an ended job with all its events").problems(&[404, 409]),
        ],
    },
    Route {
        path: "/v1/jobs/{id}/events",
        operations: &[get(Endpoint::JobEvents, FEED_OF_JOB_ANSWERS, "A job's events")
            .query(FEED)
            .problems(&[404, 406, 410])],
    },
    Route {
        path: "/v1/jobs/{id}/traces",
        operations: &[get(
            Endpoint::JobTraces,
            &[(200, "Trace")],
            "What took how long in a job, and what its agents used",
        )
        .query(&["format"])
        .problems(&[404])],
    },
    Route {
        path: "/v1/sessions/{id}/messages",
        operations: &[post(Endpoint::SayMessage, &[(202, "Job")], "Say something; a job answers")
            .body("SayMessage")
            .problems(&[404, 409, 429])],
    },
    Route {
        path: "/v1/sessions/{id}/messages/{message}/edit",
        operations: &[post(Endpoint::EditMessage, &[(202, "Job")], "Say something else in the place of a message")
            .body("MessageParts")
            .problems(&[404, 409, 429])],
    },
    Route {
        path: "/v1/sessions/{id}/queue/{message}",
        operations: &[
            get(Endpoint::ShowQueuedMessage, &[(200, "QueuedMessage")], "Show a message that waits").problems(&[404]),
            patch(Endpoint::ChangeQueuedMessage, &[(200, "QueuedMessage")], "Change a message that waits")
                .body("MessageParts")
                .problems(&[404, 409]),
            delete(Endpoint::DropQueuedMessage, "Take back a message that waits").problems(&[404, 409]),
        ],
    },
    Route {
        path: "/v1/sessions/{id}/interrupt",
        operations: &[post(Endpoint::InterruptSession, &[(202, "Interrupted")], "End the turn that is under way")
            .problems(&[404, 409])],
    },
    Route {
        path: "/v1/events",
        operations: &[get(Endpoint::Events, FEED_ANSWERS, "All events").query(FEED).problems(&[406, 410])],
    },
    Route {
        path: "/v1/jobs/{id}/cancel",
        operations: &[post(Endpoint::CancelJob, &[(202, "Job")], "Cancel a job").body("Cancel").problems(&[404, 409])],
    },
    Route {
        path: "/v1/jobs/{id}/signals/{name}",
        operations: &[post(Endpoint::SignalJob, &[(202, "Job")], "Send a signal to a job")
            .body("Signal")
            .problems(&[404, 409])],
    },
    Route {
        path: "/v1/jobs/{id}/approvals/{approval}",
        operations: &[post(Endpoint::DecideApproval, &[(200, "Job")], "Decide an approval")
            .body("Decide")
            .problems(&[404, 409])],
    },
    Route {
        path: "/v1/jobs/{id}/retry",
        operations: &[post(Endpoint::RetryJob, &[(201, "Job")], "Run an ended job again, with what it has done")
            .body("RetryJob")
            .problems(&[404, 409, 413, 422, 429])],
    },
    Route {
        path: "/v1/jobs/{id}/fork",
        operations: &[post(
            Endpoint::ForkJob,
            &[(201, "Job")],
            "A new job that shares a job's history up to a version",
        )
        .body("ForkJob")
        .problems(&[404, 413, 422, 429])],
    },
    Route {
        path: "/v1/jobs/{id}/diff/{other}",
        operations: &[
            get(Endpoint::DiffJobs, &[(200, "Diff")], "Where two jobs part, and what differs").problems(&[404])
        ],
    },
    Route {
        path: "/v1/jobs/{id}/state",
        operations: &[get(Endpoint::JobState, &[(200, "State")], "A job's state as of a version of its stream")
            .query(&["at"])
            .problems(&[404])],
    },
    Route {
        path: "/v1/approvals",
        operations: &[get(Endpoint::ListApprovals, &[(200, "ApprovalPage")], "List open approvals, oldest first")
            .query(&["job", "limit", "cursor"])],
    },
    Route {
        path: "/v1/tools",
        operations: &[get(Endpoint::ListTools, &[(200, "ToolPage")], "List tools").query(&["limit", "cursor"])],
    },
    Route {
        path: "/v1/queues",
        operations: &[get(Endpoint::ListQueues, &[(200, "QueuePage")], "List queues").query(&["limit", "cursor"])],
    },
    Route {
        path: "/v1/queues/{name}/pause",
        operations: &[post(Endpoint::PauseQueue, &[(200, "Queue")], "Start no more jobs of a queue")
            .body("Nothing")
            .problems(&[404])],
    },
    Route {
        path: "/v1/queues/{name}/resume",
        operations: &[post(Endpoint::ResumeQueue, &[(200, "Queue")], "Start jobs of a queue again")
            .body("Nothing")
            .problems(&[404])],
    },
    Route {
        path: "/v1/schedules",
        operations: &[get(Endpoint::ListSchedules, &[(200, "SchedulePage")], "List schedules by name")
            .query(&["limit", "cursor"])],
    },
    Route {
        path: "/v1/schedules/{name}",
        operations: &[
            get(Endpoint::ShowSchedule, &[(200, "Schedule")], "Show a schedule").problems(&[404]),
            put(Endpoint::SetSchedule, &[(201, "Schedule"), (200, "Schedule")], "Set a schedule, or change it")
                .body("SetSchedule")
                .problems(&[404, 409, 422]),
            delete(Endpoint::RemoveSchedule, "Remove a schedule; its jobs go on").problems(&[404]),
        ],
    },
    Route {
        path: "/v1/webhooks",
        operations: &[get(Endpoint::ListWebhooks, &[(200, "WebhookPage")], "List webhooks with what they are owed")
            .query(&["limit", "cursor"])],
    },
    Route {
        path: "/v1/webhooks/{name}",
        operations: &[get(Endpoint::ShowWebhook, &[(200, "Webhook")], "Show a webhook").problems(&[404])],
    },
    Route {
        path: "/v1/webhooks/{name}/redeliver",
        operations: &[post(Endpoint::Redeliver, &[(202, "Redelivering")], "Deliver events once more")
            .body("Redeliver")
            .problems(&[404, 409])],
    },
    Route {
        path: "/v1/errors",
        operations: &[get(Endpoint::ListErrors, &[(200, "ErrorCodePage")], "List the codes of errors")
            .query(&["limit", "cursor"])],
    },
    Route {
        path: "/v1/errors/{code}",
        operations: &[
            get(Endpoint::ShowError, &[(200, "ErrorCode")], "Show what the code of an error means").problems(&[404])
        ],
    },
    Route {
        path: "/v1/workflows",
        operations: &[
            get(Endpoint::ListWorkflows, &[(200, "WorkflowPage")], "List workflows").query(&["limit", "cursor"])
        ],
    },
    Route {
        path: "/v1/workflows/check",
        operations: &[
            post(Endpoint::CheckWorkflow, &[(200, "CheckReport")], "Check a script without running it").body("Check")
        ],
    },
    Route {
        path: "/v1/workflows/{name}",
        operations: &[get(Endpoint::ShowWorkflow, &[(200, "Workflow")], "Show a workflow with source and schema")
            .problems(&[404])],
    },
    Route {
        path: "/v1/processes",
        operations: &[
            post(Endpoint::StartProcess, &[(201, "Started"), (200, "Started")], "Start a process, and do not wait")
                .body("StartProcess")
                .problems(&[404, 409, 429]),
            get(Endpoint::ListProcesses, &[(200, "ProcessList")], "List processes: running ones first, then newest")
                .query(&["session", "job", "limit"]),
        ],
    },
    Route {
        path: "/v1/processes/{id}",
        operations: &[get(Endpoint::ShowProcess, &[(200, "Process")], "Show a process")
            .query(&["session"])
            .problems(&[404])],
    },
    Route {
        path: "/v1/processes/{id}/output",
        operations: &[get(
            Endpoint::ProcessOutput,
            &[(200, "ProcessOutput")],
            "What a process has written: its beginning and its end",
        )
        .query(&["wait", "session"])
        .problems(&[404])],
    },
    Route {
        path: "/v1/processes/{id}/search",
        operations: &[get(Endpoint::SearchProcess, &[(200, "Found")], "Search all recorded output of a process")
            .query(&["pattern", "limit", "context", "session"])
            .problems(&[404])],
    },
    Route {
        path: "/v1/processes/{id}/signal",
        operations: &[post(Endpoint::SignalProcess, &[(200, "Process")], "Send a signal to a process's group")
            .query(&["session"])
            .body("SignalProcess")
            .problems(&[404, 409])],
    },
    Route {
        path: "/v1/sessions",
        operations: &[
            post(Endpoint::CreateSession, &[(201, "Session")], "Create a session, with its workspace")
                .body("CreateSession")
                .problems(&[429]),
            get(Endpoint::ListSessions, &[(200, "SessionPage")], "List sessions, newest first")
                .query(&["status", "limit", "cursor"]),
        ],
    },
    Route {
        path: "/v1/sessions/{id}",
        operations: &[
            get(Endpoint::ShowSession, &[(200, "Session")], "Show a session as it stands").problems(&[404]),
            patch(Endpoint::ChangeSession, &[(200, "Session")], "Change a session: archive it, wake it, bound it")
                .body("ChangeSession")
                .problems(&[404, 409]),
        ],
    },
    Route {
        path: "/v1/sessions/{id}/close",
        operations: &[post(
            Endpoint::CloseSession,
            &[(200, "Session")],
            "Close a session; what its workspace holds that is not merged is kept and named",
        )
        .body("Nothing")
        .problems(&[404, 409])],
    },
    Route {
        path: "/v1/sessions/{id}/changes",
        operations: &[get(Endpoint::ListChanges, &[(200, "ChangePage")], "The files that a session has changed")
            .query(&["limit", "cursor"])
            .problems(&[404, 409])],
    },
    Route {
        path: "/v1/sessions/{id}/changes/revert",
        operations: &[post(
            Endpoint::RevertChanges,
            &[(200, "Reverted")],
            "Make files what they were before the session changed them",
        )
        .body("Revert")
        .problems(&[404, 409])],
    },
    Route {
        path: "/v1/sessions/{id}/changes/merge",
        operations: &[post(
            Endpoint::MergeChanges,
            &[(200, "Merged")],
            "Merge a session's worktree into the branch it began at",
        )
        .body("Nothing")
        .problems(&[404, 409])],
    },
    Route {
        path: "/v1/blobs/{hash}",
        operations: &[get(
            Endpoint::Blob,
            &[(200, "application/octet-stream"), (304, "")],
            "Bytes that are stored by their blake3 hash",
        )
        .problems(&[404])],
    },
    Route {
        path: "/v1/tickets",
        operations: &[post(Endpoint::Ticket, &[(201, "Ticket")], "A short-lived ticket for feeds").body("Nothing")],
    },
    Route {
        path: "/v1/verify",
        operations: &[
            get(Endpoint::Verify, &[(200, "VerifyReport")], "Walk the log and check its chain").problems(&[409])
        ],
    },
    Route {
        path: "/v1/backup",
        operations: &[get(
            Endpoint::Backup,
            &[(200, "application/gzip")],
            "The log as it is now, as one file that `moonlog restore` takes",
        )
        .problems(&[409])],
    },
    Route {
        path: "/v1/compact",
        operations: &[post(
            Endpoint::Compact,
            &[(200, "Compacted")],
            "Delete ended jobs that are kept no longer, and give the disk its room back",
        )
        .body("Compact")
        .problems(&[409, 507])],
    },
    Route {
        path: "/v1/import",
        operations: &[post(Endpoint::Import, &[(201, "Job")], "Take in an exported job")
            .body("Bundle")
            .problems(&[409])],
    },
    Route { path: "/healthz", operations: &[get(Endpoint::Health, &[(200, "Health")], "The server lives")] },
    Route {
        path: "/readyz",
        operations: &[get(Endpoint::Ready, &[(200, "Health")], "The log is writable and recovery is done")],
    },
    Route { path: "/metrics", operations: &[get(Endpoint::Metrics, &[(200, "text/plain")], "Prometheus metrics")] },
    Route { path: "/openapi.json", operations: &[get(Endpoint::OpenApi, &[(200, "OpenApi")], "This description")] },
    Route { path: "/", operations: &[get(Endpoint::Console, &[(200, "text/html")], "The console")] },
];
