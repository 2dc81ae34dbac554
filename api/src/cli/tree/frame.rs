//! The tree laid out for a terminal: lines of a given width, at most so many of them.

use super::model::{End, JobTree, Log, Node, State, is_failure};
use crate::cli::{
    duration,
    paint::{Look, Paint, harmless},
};
use console::{measure_text_width, truncate_str};
use moonlog_core::{
    event::{StepOutcome, WaitKind},
    time::Timestamp,
};

const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
const SPINNER_STEP_MS: u64 = 100;
/// Log lines below the tree.
const LOGS_SHOWN: usize = 3;

/// Columns that an operation's words get at least.
const NARROWEST_WORDS: usize = 12;
/// The longest error beside a step, in columns.
const LONGEST_ERROR: usize = 80;

/// How a tree is to be laid out.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// The most lines.
    pub rows: usize,
    /// The most columns.
    pub columns: usize,
    /// Colours.
    pub paint: Paint,
}

/// A line, and how dear it is: where room is short, lines of the highest number go first.
struct Line(u8, String);

const ALWAYS: u8 = 0;
const OPEN: u8 = 1;
const FAILED: u8 = 2;
const PHASE: u8 = 3;
const DONE: u8 = 4;

impl JobTree {
    /// The tree while the job runs.
    pub fn frame(&self, now: Timestamp, layout: Layout) -> Vec<String> {
        let drawing = Drawing { tree: self, now, paint: layout.paint, columns: layout.columns, still: false };
        let mut lines = vec![Line(ALWAYS, drawing.header())];
        for (at, phase) in self.phases.iter().enumerate() {
            let current = at == self.phase;
            let open = phase.roots.iter().any(|&root| self.is_open(root));
            lines.extend(drawing.phase_heading(at).map(|text| Line(if current || open { OPEN } else { PHASE }, text)));
            for &root in &phase.roots {
                if current || self.is_open(root) || self.has_failed(root) {
                    drawing.node(root, usize::from(at > 0) + 1, &mut lines);
                }
            }
        }
        let logs = self.logs.iter().rev().take(LOGS_SHOWN).rev().map(|log| Line(FAILED, drawing.log(log)));
        lines.extend(logs);
        lines.extend(drawing.notices().into_iter().map(|text| Line(ALWAYS, text)));
        fit(lines, layout)
    }

    /// The tree of an ended job, to be left on the terminal: phases, what failed, and the sum.
    pub fn summary(&self, layout: Layout) -> Vec<String> {
        let now = self.end.as_ref().map_or(Timestamp::default(), |(time, _)| *time);
        let drawing = Drawing { tree: self, now, paint: layout.paint, columns: layout.columns, still: true };
        let mut lines = Vec::new();
        for (at, phase) in self.phases.iter().enumerate() {
            lines.extend(drawing.phase_heading(at).map(|text| Line(ALWAYS, text)));
            for &root in &phase.roots {
                if self.has_failed(root) {
                    drawing.node(root, usize::from(at > 0) + 1, &mut lines);
                }
            }
        }
        lines.retain(|line| line.0 <= FAILED);
        lines.push(Line(ALWAYS, drawing.header()));
        fit(lines, layout)
    }

    /// All of the tree, for a job that is looked at and not watched.
    pub fn whole(&self, now: Timestamp, columns: usize, paint: Paint) -> Vec<String> {
        let now = self.end.as_ref().map_or(now, |(time, _)| *time);
        let drawing = Drawing { tree: self, now, paint, columns, still: true };
        let mut lines = vec![Line(ALWAYS, drawing.header())];
        for (at, phase) in self.phases.iter().enumerate() {
            lines.extend(drawing.phase_heading(at).map(|text| Line(ALWAYS, text)));
            for &root in &phase.roots {
                drawing.every_node(root, usize::from(at > 0) + 1, &mut lines);
            }
        }
        lines.extend(drawing.notices().into_iter().map(|text| Line(ALWAYS, text)));
        fit(lines, Layout { rows: usize::MAX, columns, paint })
    }
}

struct Drawing<'a> {
    tree: &'a JobTree,
    now: Timestamp,
    paint: Paint,
    columns: usize,
    /// Whether it is drawn once, and will not move.
    still: bool,
}

impl Drawing<'_> {
    fn dim(&self, text: &str) -> String {
        self.paint.put(Look::Dim, text).into_owned()
    }

    fn spinner(&self) -> String {
        if self.still {
            return self.paint.put(Look::Cyan, "▸").into_owned();
        }
        let step = usize::try_from(self.now.as_micros() as u64 / 1000 / SPINNER_STEP_MS).unwrap_or(0);
        self.paint.put(Look::Cyan, SPINNER[step % SPINNER.len()]).into_owned()
    }

    fn mark(&self, outcome: StepOutcome) -> String {
        let (mark, look) = match outcome {
            StepOutcome::Ok => ("✓", Look::Green),
            StepOutcome::Cancelled | StepOutcome::Skipped => ("–", Look::Dim),
            _ => ("✗", Look::Red),
        };
        self.paint.put(look, mark).into_owned()
    }

    /// `⠋ repo-report running · 3.2s · 12/15 steps · 019ab0c2-...`
    fn header(&self) -> String {
        let tree = self.tree;
        let (mark, state) = match &tree.end {
            Some((_, End::Completed(_))) => (self.mark(StepOutcome::Ok), "completed".to_owned()),
            Some((_, End::Failed(_))) => (self.mark(StepOutcome::Error), "failed".to_owned()),
            Some((_, End::Cancelled(_))) => (self.mark(StepOutcome::Cancelled), "cancelled".to_owned()),
            Some((_, End::TimedOut(limit))) => (self.mark(StepOutcome::TimedOut), format!("timed out ({limit})")),
            None => (self.spinner(), self.live_state()),
        };
        let (done, all) = tree.steps();
        let mut parts = vec![state];
        parts.extend(tree.submitted_at.map(|time| duration::between(time, self.now)));
        if tree.attempt > 1 {
            parts.push(format!("attempt {}", tree.attempt));
        }
        match (&tree.end, all) {
            (_, 0) => {}
            (Some(_), 1) => parts.push("1 step".to_owned()),
            (Some(_), _) => parts.push(format!("{all} steps")),
            (None, _) => parts.push(format!("{done}/{all} steps")),
        }
        if tree.end.is_some() && tree.processes_started > 0 {
            let noun = if tree.processes_started == 1 { "process" } else { "processes" };
            parts.push(format!("{} {noun}", tree.processes_started));
        }
        parts.push(tree.id.clone());
        let name = self.paint.put(Look::Bold, &tree.workflow).into_owned();
        format!("{mark} {name} {}", self.dim(&parts.join(" · ")))
    }

    fn live_state(&self) -> String {
        let tree = self.tree;
        match (&tree.retry, &tree.waiting) {
            _ if tree.cancelling => "cancelling".to_owned(),
            (Some((due, _)), _) => format!("next attempt in {}", duration::show(due.ms_since(self.now))),
            (_, Some(_)) => "waiting".to_owned(),
            _ if tree.started_at.is_none() => "queued".to_owned(),
            _ => "running".to_owned(),
        }
    }

    fn phase_heading(&self, at: usize) -> Option<String> {
        let (tree, phase) = (self.tree, &self.tree.phases[at]);
        if phase.title.is_empty() {
            return None;
        }
        let Some(entered) = phase.entered_at else {
            return (!self.still).then(|| self.dim(&format!("  ○ {}", phase.title)));
        };
        let end = tree.end.as_ref().filter(|_| at == tree.phase).map(|(_, end)| end);
        let mark = match (phase.left_at, end) {
            (None, _) => self.spinner(),
            (_, Some(End::Cancelled(_))) => self.mark(StepOutcome::Cancelled),
            (_, Some(End::Failed(_) | End::TimedOut(_))) => self.mark(StepOutcome::Error),
            _ => self.mark(StepOutcome::Ok),
        };
        let steps = tree.steps_under(&phase.roots);
        let time = duration::between(entered, phase.left_at.unwrap_or(self.now));
        let noun = if steps == 1 { "step" } else { "steps" };
        let count = if steps == 0 { String::new() } else { format!("{steps} {noun}, ") };
        Some(format!("  {mark} {} {}", self.paint.put(Look::Bold, &phase.title), self.dim(&format!("{count}{time}"))))
    }

    fn node(&self, at: usize, depth: usize, lines: &mut Vec<Line>) {
        let (tree, node) = (self.tree, &self.tree.nodes[at]);
        let open = tree.is_open(at);
        // A branch with one step in it is one line.
        if let (true, [only]) = (node.kind.is_empty(), node.children.as_slice()) {
            let inner = &tree.nodes[*only];
            if !inner.kind.is_empty() && inner.children.is_empty() {
                let name = format!("{}/{}", node.name, inner.name);
                return self.step(*only, &name, depth, lines);
            }
        }
        self.step(at, &node.name, depth, lines);
        if open || tree.has_failed(at) {
            for &child in &node.children {
                self.node(child, depth + 1, lines);
            }
        }
    }

    fn every_node(&self, at: usize, depth: usize, lines: &mut Vec<Line>) {
        self.step(at, &self.tree.nodes[at].name, depth, lines);
        for &child in &self.tree.nodes[at].children {
            self.every_node(child, depth + 1, lines);
        }
    }

    fn step(&self, at: usize, name: &str, depth: usize, lines: &mut Vec<Line>) {
        let (tree, node) = (self.tree, &self.tree.nodes[at]);
        let indent = "  ".repeat(depth);
        let dear = match (tree.is_open(at), tree.has_failed(at)) {
            (true, _) => OPEN,
            (_, true) => FAILED,
            _ => DONE,
        };
        let mark = match (node.kind.is_empty(), node.state) {
            (true, _) if tree.is_open(at) => self.dim("▸"),
            (true, _) if tree.has_failed(at) => self.mark(StepOutcome::Error),
            (true, _) => self.mark(StepOutcome::Ok),
            (_, State::Running) if matches!(node.kind.as_str(), "sleep" | "wait_for" | "approve") => self.dim("◌"),
            (_, State::Running) => self.spinner(),
            (_, State::Retrying(_)) => self.paint.put(Look::Yellow, "↻").into_owned(),
            (_, State::Ended(outcome)) => self.mark(outcome),
        };
        let head = format!("{indent}{mark} {name}");
        let tail = self.details(node);
        // What it does is cut before how it went.
        let room = self.columns.saturating_sub(measure_text_width(&head) + measure_text_width(&tail) + 1);
        let words = truncate_str(&node.words, room.max(NARROWEST_WORDS), "…");
        let gap = if words.is_empty() { "" } else { " " };
        lines.push(Line(dear, format!("{head}{gap}{}", self.dim(&format!("{words}{tail}")))));
        for process in node.processes.iter().filter_map(|id| tree.processes.get(id)) {
            if process.ended_at.is_some() {
                continue;
            }
            let time = duration::between(process.started_at, self.now);
            let last = if process.last_line.is_empty() { String::new() } else { format!(" │ {}", process.last_line) };
            let text = if process.background {
                format!("background pid {} {} {time}{last}", process.pid, process.words)
            } else {
                format!("pid {}{last}", process.pid)
            };
            lines.push(Line(OPEN, format!("{indent}  {}", self.dim(&text))));
        }
    }

    fn details(&self, node: &Node) -> String {
        let mut out = String::new();
        if node.kind.is_empty() {
            return out;
        }
        if node.attempt > 1 {
            out.push_str(&format!(" · attempt {}", node.attempt));
        }
        match node.state {
            State::Retrying(due) => out.push_str(&format!(" · again in {}", duration::show(due.ms_since(self.now)))),
            _ if node.cached => out.push_str(" · cached"),
            _ => {
                let end = node.ended_at.unwrap_or(self.now);
                out.push_str(&format!(" · {}", duration::between(node.started_at, end)));
            }
        }
        let failed = matches!(node.state, State::Retrying(_)) || matches!(node.state, State::Ended(o) if is_failure(o));
        if let (true, Some(error)) = (failed, &node.error) {
            out.push_str(&format!(" · {}", truncate_str(error, LONGEST_ERROR, "…")));
        }
        out
    }

    fn log(&self, log: &Log) -> String {
        let text = harmless(log.message.lines().next().unwrap_or_default()).into_owned();
        match log.level.as_str() {
            "error" => format!("  {} {text}", self.paint.put(Look::Red, "error")),
            "warn" => format!("  {} {text}", self.paint.put(Look::Yellow, "warn")),
            _ => format!("  {text}"),
        }
    }

    /// What a person can do.
    fn notices(&self) -> Vec<String> {
        let tree = self.tree;
        let mut out = Vec::new();
        for (id, title) in &tree.approvals {
            let how = format!("moonlog approve {} '{}'", tree.id, harmless(id));
            out.push(format!("  {} {title} {}", self.paint.put(Look::Yellow, "needs approval:"), self.dim(&how)));
        }
        if let Some(waiting) = tree.waiting.as_ref().filter(|waiting| waiting.reason == WaitKind::Signal) {
            let name = harmless(waiting.name.as_deref().unwrap_or("NAME"));
            let how = format!("moonlog signal {} {name}", tree.id);
            out.push(format!("  {} {}", self.paint.put(Look::Yellow, "waits for a signal:"), self.dim(&how)));
        }
        out
    }
}

/// Cuts lines to the width, and leaves out the least dear ones, oldest first, where they are too many.
fn fit(mut lines: Vec<Line>, layout: Layout) -> Vec<String> {
    let mut hidden = 0;
    while lines.len() + usize::from(hidden > 0) > layout.rows.max(2) {
        let Some(cheapest) = lines.iter().map(|line| line.0).max().filter(|&dear| dear > ALWAYS) else { break };
        // Of what runs, the first is shown; of what is done, the last.
        let at = match cheapest {
            OPEN => lines.iter().rposition(|line| line.0 == cheapest),
            _ => lines.iter().position(|line| line.0 == cheapest),
        };
        lines.remove(at.unwrap_or_default());
        hidden += 1;
    }
    let mut out: Vec<String> =
        lines.into_iter().map(|line| truncate_str(&line.1, layout.columns, "…").into_owned()).collect();
    if hidden > 0 {
        out.push(layout.paint.put(Look::Dim, &format!("  … {hidden} more")).into_owned());
    }
    out
}
