//! What a route is: a path with its methods, and what is said of each.

use warp::http::Method;

/// A path, with `{name}` for its variables.
pub struct Route {
    pub path: &'static str,
    pub operations: &'static [Operation],
}

/// What a method does there.
pub struct Operation {
    pub method: Method,
    pub endpoint: Endpoint,
    /// The query parameters it takes.
    pub query: &'static [&'static str],
    /// The schema of its body, where it takes one.
    pub body: Option<&'static str>,
    /// What it answers when all is well, with the schema (or, with a `/` in it, the media type).
    pub answers: &'static [(u16, &'static str)],
    /// The problems it answers with, besides those of every request.
    pub problems: &'static [u16],
    pub summary: &'static str,
}

/// The handlers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endpoint {
    Console,
    Health,
    Ready,
    Metrics,
    OpenApi,
    SubmitJob,
    ListJobs,
    CancelJobs,
    RetryJobs,
    ListErrors,
    ShowError,
    ListWebhooks,
    ShowWebhook,
    Redeliver,
    ShowJob,
    DeleteJob,
    CancelJob,
    SignalJob,
    RetryJob,
    ForkJob,
    DiffJobs,
    DecideApproval,
    JobState,
    JobEvents,
    JobTraces,
    SayMessage,
    EditMessage,
    ShowQueuedMessage,
    ChangeQueuedMessage,
    DropQueuedMessage,
    InterruptSession,
    ListApprovals,
    Events,
    ListQueues,
    PauseQueue,
    ResumeQueue,
    ListSchedules,
    ShowSchedule,
    SetSchedule,
    RemoveSchedule,
    ListWorkflows,
    ShowWorkflow,
    CheckWorkflow,
    ListTools,
    Blob,
    Ticket,
    Verify,
    Compact,
    Backup,
    Import,
    StartProcess,
    ListProcesses,
    ShowProcess,
    ProcessOutput,
    SearchProcess,
    SignalProcess,
    CreateSession,
    ListSessions,
    ShowSession,
    ChangeSession,
    CloseSession,
    ListChanges,
    RevertChanges,
    MergeChanges,
}

/// A method that reads.
pub const fn get(endpoint: Endpoint, answers: &'static [(u16, &'static str)], summary: &'static str) -> Operation {
    Operation { method: Method::GET, endpoint, query: &[], body: None, answers, problems: &[], summary }
}

/// A method that acts.
pub const fn post(endpoint: Endpoint, answers: &'static [(u16, &'static str)], summary: &'static str) -> Operation {
    Operation { method: Method::POST, endpoint, query: &[], body: None, answers, problems: &[], summary }
}

/// A method that sets.
pub const fn put(endpoint: Endpoint, answers: &'static [(u16, &'static str)], summary: &'static str) -> Operation {
    Operation { method: Method::PUT, endpoint, query: &[], body: None, answers, problems: &[], summary }
}

/// A method that changes.
pub const fn patch(endpoint: Endpoint, answers: &'static [(u16, &'static str)], summary: &'static str) -> Operation {
    Operation { method: Method::PATCH, endpoint, query: &[], body: None, answers, problems: &[], summary }
}

/// A method that removes.
pub const fn delete(endpoint: Endpoint, summary: &'static str) -> Operation {
    Operation {
        method: Method::DELETE,
        endpoint,
        query: &[],
        body: None,
        answers: &[(204, "")],
        problems: &[],
        summary,
    }
}

impl Operation {
    /// The same with these query parameters.
    pub const fn query(mut self, query: &'static [&'static str]) -> Self {
        self.query = query;
        self
    }

    /// The same with a body of this schema.
    pub const fn body(mut self, schema: &'static str) -> Self {
        self.body = Some(schema);
        self
    }

    /// The same with these problems.
    pub const fn problems(mut self, problems: &'static [u16]) -> Self {
        self.problems = problems;
        self
    }
}
