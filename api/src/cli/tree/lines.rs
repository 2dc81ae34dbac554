//! A job told line by line, for files and pipes.

use super::{
    describe,
    model::{JobTree, Node, exit_words, first_line},
};
use crate::cli::{
    duration,
    paint::{harmless, harmless_json},
};
use moonlog_core::{
    event::{Event, EventBody, StepOutcome, WaitKind},
    time::Timestamp,
};

/// The line that tells `event`, where it is worth one. `tree` has the event folded in.
pub fn line(tree: &JobTree, event: &Event) -> Option<String> {
    let (what, text) = words(tree, event)?;
    let since = tree.submitted_at.map_or(0, |start| event.happened_at().ms_since(start));
    Some(format!("[{:>4}.{}s] {what:<9} {text}", since / 1000, since % 1000 / 100).trim_end().to_owned())
}

fn words(tree: &JobTree, event: &Event) -> Option<(&'static str, String)> {
    let until = |due: Option<Timestamp>| due.map(|due| format!(", until {due}")).unwrap_or_default();
    Some(match &event.body {
        EventBody::JobSubmitted(fields) => {
            ("job", format!("{} {}, queue {}", tree.id, harmless(&fields.workflow), fields.queue))
        }
        EventBody::JobStarted(fields) if fields.attempt > 1 => ("started", format!("attempt {}", fields.attempt)),
        EventBody::JobStarted(_) => ("started", String::new()),
        EventBody::JobContinued(fields) => ("continued", format!("run {}", fields.run)),
        EventBody::JobRetryScheduled(fields) => {
            ("retry", format!("in {}: {}", duration::show(fields.wait_ms), first_line(&fields.error.message)))
        }
        EventBody::JobPhaseEntered(fields) => ("phase", first_line(&fields.title)),
        EventBody::JobLogged(fields) => {
            ("log", format!("{}: {}", first_line(&fields.level), all_lines(&fields.message)))
        }
        EventBody::JobEmitted(fields) => {
            ("emit", format!("{} {}", first_line(&fields.name), harmless_json(fields.value.as_str())))
        }
        EventBody::JobSignalled(fields) => ("signal", first_line(&fields.name)),
        EventBody::JobCancelRequested(fields) => {
            ("cancel", fields.reason.as_deref().map(first_line).unwrap_or_default())
        }
        EventBody::JobWaiting(fields) => match fields.reason {
            WaitKind::Signal => {
                let name = fields.name.as_deref().map_or_else(|| "NAME".to_owned(), first_line);
                ("waiting", format!("for a signal: moonlog signal {} {name}{}", tree.id, until(fields.until)))
            }
            WaitKind::Approval => return None,
            reason => ("waiting", format!("{}{}", wait_words(reason), until(fields.until))),
        },
        EventBody::ToolApprovalRequested(fields) => {
            let title = tree.approvals.last().map_or("", |(_, title)| title.as_str());
            ("approval", format!("needed: {title}: moonlog approve {} '{}'", tree.id, first_line(&fields.call_id)))
        }
        EventBody::ToolApprovalDecided(fields) => {
            let by = fields.by.as_deref().map(|by| format!(" by {by}")).unwrap_or_default();
            ("approval", first_line(&format!("{:?}{by}", fields.decision).to_lowercase()))
        }
        // Of a command, the process that it becomes is told.
        EventBody::StepStarted(fields) if matches!(fields.kind.as_str(), "exec" | "sh" | "process") => return None,
        EventBody::StepStarted(fields) => ("step", told(tree.node(&fields.path)?)),
        EventBody::StepFinished(fields) => {
            let node = tree.node(&fields.path)?;
            let mut text = told(node);
            if fields.cached {
                text.push_str(", cached");
            } else {
                text.push_str(&format!(", {}", duration::show(fields.latency_ms)));
            }
            if let (Some(error), true) = (&node.error, fields.outcome != StepOutcome::Ok) {
                text.push_str(&format!(": {error}"));
            }
            (outcome_word(fields.outcome), text)
        }
        EventBody::StepRetryScheduled(fields) => {
            ("retry", format!("{} in {}", told(tree.node(&fields.path)?), duration::show(fields.wait_ms)))
        }
        EventBody::ProcessStarted(fields) => {
            // Of a step's command the step has the better words: a shell's script and not the shell.
            let node = event.step.as_ref().and_then(|path| tree.node(path)).filter(|node| !node.words.is_empty());
            let words = match node {
                Some(node) => told(node),
                None => describe::one_line(&describe::command_line(&fields.command, &fields.args)),
            };
            ("process", format!("{words}, pid {}", fields.pid))
        }
        EventBody::ProcessBackgrounded(_) => ("process", format!("{} goes on in the background", process(tree, event))),
        // The end of a command that a step waits for is told with the step.
        EventBody::ProcessExited(fields) => {
            let background = event.process.and_then(|id| tree.processes.get(&id)).is_some_and(|p| p.background);
            if !background {
                return None;
            }
            ("exited", format!("{}, {}, {}", process(tree, event), exit_words(fields), duration::show(fields.wall_ms)))
        }
        EventBody::JobCompleted(_) => ("completed", sum(tree)),
        EventBody::JobFailed(_) => ("failed", sum(tree)),
        EventBody::JobCancelled(_) => ("cancelled", sum(tree)),
        EventBody::JobTimedOut(fields) => ("timed out", format!("{}, {}", fields.limit, sum(tree))),
        _ => return None,
    })
}

fn told(node: &Node) -> String {
    match (node.words.is_empty(), node.name == node.kind || node.name.starts_with(&format!("{}:", node.kind))) {
        (true, true) => node.path.clone(),
        (true, false) => format!("{} ({})", node.path, node.kind),
        (false, _) => format!("{}: {}", node.path, node.words),
    }
}

fn process(tree: &JobTree, event: &Event) -> String {
    event
        .process
        .and_then(|id| tree.processes.get(&id))
        .map_or_else(String::new, |process| format!("{} (pid {})", process.words, process.pid))
}

fn all_lines(text: &str) -> String {
    text.trim_end().lines().map(|line| harmless(line).into_owned()).collect::<Vec<_>>().join("\n    ")
}

const fn outcome_word(outcome: StepOutcome) -> &'static str {
    match outcome {
        StepOutcome::Ok => "ok",
        StepOutcome::Error => "error",
        StepOutcome::TimedOut => "timed out",
        StepOutcome::Cancelled => "cancelled",
        StepOutcome::Interrupted => "interrupted",
        StepOutcome::Skipped => "skipped",
    }
}

const fn wait_words(reason: WaitKind) -> &'static str {
    match reason {
        WaitKind::Sleep => "asleep",
        WaitKind::Signal => "for a signal",
        WaitKind::Approval => "for an approval",
        WaitKind::Child => "for a child job",
        WaitKind::Process => "for a process",
        WaitKind::Capacity => "for a free place",
    }
}

fn sum(tree: &JobTree) -> String {
    let (_, steps) = tree.steps();
    let time = match (tree.submitted_at, &tree.end) {
        (Some(start), Some((end, _))) => duration::between(start, *end),
        _ => String::new(),
    };
    let steps_word = if steps == 1 { "step" } else { "steps" };
    let processes = tree.processes_started;
    let processes_word = if processes == 1 { "process" } else { "processes" };
    format!("in {time}, {steps} {steps_word}, {processes} {processes_word}")
}
