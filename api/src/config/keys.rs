//! Every key there is: its path (`*` stands for a name of the user's own), what it can be, its default, and what it
//! does. Units stand at the end of the names.

use super::value::Kind::{self, *};

/// A key of the configuration.
pub(super) struct Key {
    pub(super) path: &'static str,
    pub(super) kind: Kind,
    /// As it would be typed in an environment variable; `None` where the key has no value unless it is set.
    pub(super) default: Option<&'static str>,
    pub(super) doc: &'static str,
}

const fn key(path: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Key {
    Key { path, kind, default: Some(default), doc }
}

const fn unset(path: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key { path, kind, default: None, doc }
}

const ANY: u64 = u64::MAX;
const MAX_MS: u64 = 365 * 24 * 3_600_000;
const MAX_BYTES: u64 = 1 << 40;
/// Each of these is remembered for a minute.
const RATE_MAX: u64 = 1_000_000;

/// All keys, in the order in which they are printed.
pub(super) const KEYS: &[Key] = &[
    key("api.listen", Address, "127.0.0.1:7070", "where HTTP is served; port 0 takes a free one"),
    key("api.token_file", Text, "", "file with the token that clients must send; MOONLOG_TOKEN wins over it"),
    key("api.hosts", Texts, "", "further names under which the server is asked for (`Host`), besides loopback's"),
    key("api.origins", Texts, "", "web origins whose pages may use the server, such as https://ci.example.com"),
    key("log.folder", Text, "./.moonlog/data", "the data folder"),
    key("log.cache_bytes", Whole(1 << 20, MAX_BYTES), "8_388_608", "the store's page cache"),
    key(
        "log.reserve_bytes",
        Whole(0, MAX_BYTES),
        "8_388_608",
        "disk that stays free: a write that would leave less is refused, and so is all that follows until restart; as much \
         again is held in a file, given up where a full disk would keep the log from being read",
    ),
    key(
        "log.frame_cache_bytes",
        Whole(0, MAX_BYTES),
        "1_048_576",
        "stored events kept in memory that were read last one by one",
    ),
    key("log.tail_cache_bytes", Whole(1 << 16, MAX_BYTES), "16_777_216", "newest events kept decoded for readers"),
    key("log.snapshot_every_events", Whole(100, ANY), "50_000", "how often the projections are written out"),
    key("runner.concurrency", Whole(1, 100_000), "64", "jobs that may be running at once"),
    key("runner.idle_evict_ms", Whole(0, MAX_MS), "2_000", "how long a waiting job keeps its script in memory"),
    key("runner.warm_vms", Whole(0, 10_000), "16", "script machines kept ready"),
    key(
        "runner.workflow_folders",
        Texts,
        "./.moonlog/workflows,~/.moonlog/workflows",
        "where workflows are looked for before the built-in ones; the first of a name wins",
    ),
    key(
        "workspaces.folder",
        Text,
        "",
        "where sessions' worktrees are made; `worktrees` beside the data folder if empty",
    ),
    key(
        "cache.max_bytes",
        Whole(0, MAX_BYTES),
        "268_435_456",
        "results that scripts share with `cache`, together; beyond it the oldest are forgotten",
    ),
    key("cache.max_age_ms", Whole(0, MAX_MS), "604_800_000", "how old a shared result may be, whatever a script says"),
    key("retention.max_age_ms", Whole(0, ANY), "0", "how long jobs are kept after their end; 0: for ever"),
    key("retention.max_ended_jobs", Whole(0, ANY), "0", "how many ended jobs are kept, the newest ends; 0: all"),
    key(
        "retention.max_bytes",
        Whole(0, ANY),
        "0",
        "how large the log's store may be: beyond it the ended jobs with the oldest ends are deleted; 0: any size",
    ),
    key(
        "retention.export_folder",
        Text,
        "",
        "where jobs are written as compressed bundles before they are deleted; nowhere if empty",
    ),
    key(
        "retention.every_ms",
        Whole(1_000, MAX_MS),
        "3_600_000",
        "how often a server looks which jobs are kept no longer, where one of the three limits is set",
    ),
    key(
        "retention.rewrite_min_bytes",
        Whole(0, MAX_BYTES),
        "67_108_864",
        "after how much was removed the store is rewritten, so that the disk gets its room back",
    ),
    key("defaults.model", Text, "main", "what agent() uses"),
    key("defaults.queue", Text, "default", "the queue of jobs that name none"),
    key("queues.*.concurrency", Whole(1, 100_000), "64", "jobs of this queue that may be running at once"),
    key("queues.*.capacity", Whole(1, ANY), "100_000", "jobs that may be queued; beyond it submissions get 429"),
    key(
        "queues.*.rate_per_minute",
        Whole(0, RATE_MAX),
        "0",
        "jobs that may start in any minute, restarts included and each attempt counted; 0: any number",
    ),
    key(
        "queues.*.key_rate_per_minute",
        Whole(0, RATE_MAX),
        "0",
        "jobs of one `concurrency_key` that may start in it in any minute; 0: any number",
    ),
    unset("secrets.*.env", Text, "the variable that holds what secret(name) stands for"),
    key("secrets.*.hosts", Texts, "", "where http may send it"),
    key("secrets.*.commands", Texts, "", "which commands may get it"),
    key("http.allow_private", Texts, "", "private hosts, addresses and ranges (10.0.0.0/8) that http may reach"),
    key("http.timeout_ms", Whole(1, MAX_MS), "30_000", "how long a request of http may take that names no timeout"),
    key("http.redirects_max", Whole(0, 100), "10", "how many redirects a request of http follows"),
    unset("models.*.provider", OneOf(&["openai", "anthropic", "gemini", "scripted"]), "whose protocol it speaks"),
    unset("models.*.base_url", Text, "where it is"),
    unset("models.*.model", Text, "the provider's name for it"),
    unset("models.*.api_key_env", Text, "the variable that holds the key"),
    unset("models.*.context_tokens", Whole(1, ANY), "what its context holds"),
    unset("models.*.file", Text, "the turns that a scripted model plays"),
    key("models.*.first_token_timeout_ms", Whole(1, MAX_MS), "60_000", "how long an answer may take to begin"),
    key("models.*.idle_timeout_ms", Whole(1, MAX_MS), "60_000", "how long an answer may fall silent"),
    key("models.*.request_timeout_ms", Whole(1, MAX_MS), "600_000", "how long an answer may take"),
    key("models.*.max_retries", Whole(0, 100), "4", "how often a request that failed is made again"),
    key(
        "models.*.requests_per_minute",
        Whole(0, RATE_MAX),
        "0",
        "requests that may be made in any minute, restarts included and each try counted; more wait. 0: any number",
    ),
    key(
        "models.*.tokens_per_minute",
        Whole(0, ANY),
        "0",
        "tokens that requests may use in any minute, prompt and completion; more wait. 0: any number",
    ),
    unset("models.*.prices.prompt", Number, "per million prompt tokens"),
    unset("models.*.prices.cached", Number, "per million prompt tokens from the provider's cache"),
    unset("models.*.prices.completion", Number, "per million completion tokens"),
    unset("aliases.*", Text, "another name for a model"),
    key("agents.max_turns", Whole(1, 1_000_000), "50", "turns of an agent that names no limit"),
    key("agents.max_tool_calls", Whole(1, 1_000_000), "200", "tool calls of an agent that names no limit"),
    key(
        "agents.compact_percent",
        Whole(0, 95),
        "70",
        "how full a model's context gets before it is compacted; 0: never",
    ),
    key(
        "agents.concurrency",
        Whole(1, 100_000),
        "100",
        "agents of a job and its children that run at once; more wait for their turn",
    ),
    key("agents.subagents_max", Whole(0, 1_000), "8", "agents that a job's agents may have running at once"),
    key("agents.subagent_depth", Whole(0, 16), "2", "how deep agents may spawn agents"),
    key("agents.check_command", Text, "", "run after a turn of an agent in which files were changed, such as a build"),
    key("agents.check_timeout_ms", Whole(1, MAX_MS), "120_000", "how long the check command may take"),
    key(
        "agents.check_output_max_bytes",
        Whole(64, MAX_BYTES),
        "8_192",
        "what of a failed check's output an agent is told: its beginning and its end",
    ),
    key(
        "agents.wake",
        OneOf(&["no", "yes"]),
        "no",
        "whether idle sessions are woken by what their agents left running",
    ),
    key(
        "agents.wakes_max",
        Whole(0, 1_000_000),
        "16",
        "how often a session is woken before somebody says something in it again",
    ),
    unset("webhooks.*.url", Text, "where `moonlog serve` posts events"),
    key(
        "webhooks.*.types",
        Texts,
        "",
        "which events: names and prefixes such as `job.*`; the end of each job if empty",
    ),
    unset("webhooks.*.secret_env", Text, "the variable that holds what posts are signed with, such as whsec_..."),
    key("webhooks.*.timeout_ms", Whole(1, MAX_MS), "15_000", "how long one post may take"),
    key("webhooks.*.max_attempts", Whole(1, 1_000), "12", "how often an event is posted before it counts as failed"),
    key(
        "webhooks.*.backoff_ms",
        Whole(1, MAX_MS),
        "5_000",
        "before the second post; each further wait is twice as long",
    ),
    key("webhooks.*.backoff_max_ms", Whole(1, MAX_MS), "3_600_000", "the longest such wait"),
    key("webhooks.*.concurrency", Whole(1, 1_000), "4", "posts to it at once"),
    key(
        "webhooks.*.window",
        Whole(1, 100_000),
        "256",
        "deliveries that wait for another post; while there are so many, further events wait in the log",
    ),
    key(
        "webhooks.*.inline_max_bytes",
        Whole(0, MAX_BYTES),
        "262_144",
        "an event's data as it is posted; larger is posted as a reference to /v1/blobs",
    ),
    key("tools.ask", Texts, "", "tool calls that need approval, such as `execute:rm *`"),
    key("tools.allow", Texts, "", "tool calls that need none"),
    key("tools.deny", Texts, "", "tool calls that are refused"),
    key("tools.approval_timeout_ms", Whole(1, MAX_MS), "3_600_000", "how long a call waits for approval"),
    key("tools.approval_default", OneOf(&["deny", "approve"]), "deny", "what counts where nobody decides in time"),
    key("tools.roots", Texts, ".", "where file tools may go when a job has no workspace"),
    key("tools.read_max_bytes", Whole(1_024, MAX_BYTES), "65_536", "what read_file gives of a file at once"),
    key("tools.read_max_lines", Whole(1, ANY), "2_000", "lines that read_file gives at once"),
    key("tools.line_max_bytes", Whole(64, MAX_BYTES), "2_048", "a line as read_file and search_files show it"),
    key("tools.write_max_bytes", Whole(1, MAX_BYTES), "4_194_304", "a file that is written or edited"),
    key("tools.diff_max_bytes", Whole(1_024, MAX_BYTES), "1_048_576", "the diff of one file that is recorded"),
    key("tools.edits_max", Whole(1, 100_000), "256", "edits of one call of edit_files"),
    key("tools.list_max", Whole(1, 1_000_000), "1_000", "paths that list_files gives"),
    key("tools.search_max_matches", Whole(1, 1_000_000), "200", "matching lines that search_files gives"),
    key("tools.search_max_ms", Whole(1, MAX_MS), "20_000", "how long search_files and list_files look"),
    key("tools.execute_timeout_ms", Whole(1, MAX_MS), "10_000", "how long execute waits where a call doesn't say"),
    key("tools.wait_max_ms", Whole(1, MAX_MS), "14_400_000", "the longest wait of execute and process_output"),
    key("limits.connections", Whole(1, 1_000_000), "4_096", "HTTP connections at once; more wait to be accepted"),
    key(
        "limits.connection_keep_ms",
        Whole(10, MAX_MS),
        "1_000",
        "where all connections are taken: how long one keeps its place that asks nothing or does not take its answer",
    ),
    key("limits.feeds", Whole(1, 1_000_000), "2_048", "open feeds at once; more get 503"),
    key("limits.header_read_timeout_ms", Whole(10, MAX_MS), "30_000", "for a request's head, and between requests"),
    key("limits.body_read_timeout_ms", Whole(10, MAX_MS), "30_000", "for a request's body"),
    key("limits.header_max_bytes", Whole(1_024, 1 << 20), "32_768", "a request's line and headers; more get 431"),
    key("limits.body_max_bytes", Whole(1_024, MAX_BYTES), "16_777_216", "a request's body; more gets 413"),
    key("limits.import_max_bytes", Whole(1_024, MAX_BYTES), "268_435_456", "a bundle that is imported; more gets 413"),
    key("limits.wait_max_ms", Whole(0, 300_000), "300_000", "the longest `wait`; longer ones are cut to it"),
    key("limits.drain_ms", Whole(0, MAX_MS), "10_000", "for requests to finish when the server stops"),
    key("limits.feed_keep_alive_ms", Whole(10, MAX_MS), "15_000", "between the comments of a silent feed"),
    key("limits.feed_cache_bytes", Whole(0, MAX_BYTES), "8_388_608", "rendered events that feeds share"),
    key("limits.inline_max_bytes", Whole(0, MAX_BYTES), "1_048_576", "an event's data; larger is shown as a reference"),
    key("limits.ticket_ms", Whole(1_000, MAX_MS), "60_000", "how long a feed's ticket may be used"),
    key("limits.script_source_bytes", Whole(1, MAX_BYTES), "1_048_576", "a script's source"),
    key("limits.script_memory_bytes", Whole(1 << 20, MAX_BYTES), "67_108_864", "a script's memory"),
    key("limits.script_compute_ms", Whole(1, MAX_MS), "5_000", "a script's computing without an operation"),
    key("limits.steps_per_job", Whole(1, ANY), "50_000", "steps of a job"),
    key("limits.events_per_job", Whole(1, ANY), "1_000_000", "events of a job"),
    key("limits.open_branches", Whole(1, ANY), "1_000", "branches of a job that are open at once"),
    key("limits.agents_per_job", Whole(1, ANY), "1_000", "agents of a job"),
    key("limits.items_max", Whole(1, ANY), "4_096", "items of a pipeline"),
    key("limits.value_max_bytes", Whole(1_024, MAX_BYTES), "8_388_608", "a value that enters or leaves a script"),
    key("limits.nesting", Whole(0, 32), "1", "levels of child jobs"),
    key(
        "limits.process_capture_bytes",
        Whole(1_024, MAX_BYTES),
        "1_048_576",
        "a command's output as its script gets it, per stream",
    ),
    key("limits.process_output_bytes", Whole(1_024, MAX_BYTES), "16_777_216", "a process's output that is recorded"),
    key(
        "limits.process_stall_ms",
        Whole(100, MAX_MS),
        "45_000",
        "a process that writes nothing for so long behind what looks like a question has stalled, which is an event",
    ),
    key("limits.http_response_bytes", Whole(1_024, MAX_BYTES), "8_388_608", "an answer to a script's http"),
    key("limits.git_timeout_ms", Whole(100, MAX_MS), "120_000", "one command of git's on a workspace"),
    key("limits.git_output_bytes", Whole(1 << 16, MAX_BYTES), "67_108_864", "what one command of git's may write"),
    key("limits.workspace_files", Whole(1, 100_000), "2_000", "changed files of a workspace that are known and listed"),
    key("limits.workspace_diff_bytes", Whole(0, MAX_BYTES), "1_048_576", "a changed file that is shown with a diff"),
    key(
        "limits.backup_stall_ms",
        Whole(100, MAX_MS),
        "60_000",
        "how long the client of a backup may take nothing; nothing can be deleted while a backup is read",
    ),
    key("limits.unended_jobs", Whole(1, ANY), "1_000_000", "jobs that have not ended, in all queues; more get 429"),
    key("limits.processes", Whole(1, 1_000_000), "4_096", "processes that run at once; more get 429"),
    key("limits.workflows", Whole(1, 1_000_000), "1_000", "scripts of a folder of workflows that are looked at"),
    key("limits.schedules", Whole(1, 1_000_000), "10_000", "schedules; more get 409"),
    key("limits.open_sessions", Whole(1, 10_000_000), "100_000", "sessions that are open; more get 429"),
    key("limits.queued_messages", Whole(1, 1_000_000), "1_000", "messages that wait in a session; more get 429"),
    key("limits.signals_per_job", Whole(1, 1_000_000), "10_000", "signals that a job did not consume; more get 409"),
    key("limits.name_max_bytes", Whole(16, 65_536), "256", "a name: of a queue, workflow, label, signal or person"),
    key("limits.key_max_bytes", Whole(16, 65_536), "512", "an idempotency key, concurrency key or client token"),
    key("limits.label_max_bytes", Whole(1, 65_536), "1_024", "what a label says"),
    key("limits.title_max_bytes", Whole(1, 65_536), "1_024", "a session's title"),
    key("limits.reason_max_bytes", Whole(1, MAX_BYTES), "4_096", "why something is cancelled"),
    key("limits.note_max_bytes", Whole(1, MAX_BYTES), "16_384", "what stands beside a decision on an approval"),
    key("limits.session_agent_max_bytes", Whole(1_024, MAX_BYTES), "262_144", "how a session's agent is set up"),
    key("limits.labels", Whole(0, 1_000), "64", "labels of a job"),
    key("limits.bulk_jobs", Whole(1, 100_000), "1_000", "jobs that one request cancels or runs again"),
];

/// A known key that a path of segments names, with the segments that stand at its stars.
pub(super) fn find(path: &[String]) -> Option<&'static Key> {
    KEYS.iter().find(|key| {
        let mut segments = key.path.split('.');
        path.iter().all(|given| segments.next().is_some_and(|known| known == "*" || known == given))
            && segments.next().is_none()
    })
}

/// Whether keys stand below `path`.
pub(super) fn is_table(path: &[String]) -> bool {
    KEYS.iter().any(|key| {
        let mut segments = key.path.split('.');
        path.iter().all(|given| segments.next().is_some_and(|known| known == "*" || known == given))
            && segments.next().is_some()
    })
}

/// The keys without a name in them.
pub(super) fn fixed() -> impl Iterator<Item = &'static str> {
    KEYS.iter().map(|key| key.path).filter(|path| !path.contains('*'))
}

/// The known key that looks most like `path`, where one does.
pub(super) fn nearest(path: &[String]) -> Option<String> {
    let given = path.join(".");
    let candidates = KEYS.iter().flat_map(|key| {
        // At the stars stands what the user wrote there. A table's name alone is a candidate too.
        let full: Vec<&str> = key
            .path
            .split('.')
            .enumerate()
            .map(|(at, known)| if known == "*" { path.get(at).map_or("NAME", String::as_str) } else { known })
            .collect();
        [full.join("."), full.iter().take(path.len()).copied().collect::<Vec<_>>().join(".")]
    });
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(&given, &candidate), candidate))
        .filter(|(distance, _)| *distance > 0 && *distance <= (given.len() / 3).max(2))
        .min()
        .map(|(_, candidate)| candidate)
}
