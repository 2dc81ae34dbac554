//! Follows a job's feed to its end and shows the job meanwhile; Ctrl-C asks the job to stop.

use super::{frame::Layout, lines, model::JobTree};
use crate::cli::{
    client::{Client, segment},
    duration,
    failure::Failure,
    feed::{self, Feed, Query},
    interrupts::Interrupts,
    paint::Paint,
};
use console::Term;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use std::{io::Write, time::Duration};

/// What the tree is made of.
const TYPES: &str = "job.*,step.*,tool.*,process.started,process.backgrounded,process.exited";
/// The same, with what processes write.
const TYPES_WITH_OUTPUT: &str = "job.*,step.*,tool.*,process.*";
const REDRAW: Duration = Duration::from_millis(100);

/// How a job is shown while it runs, on standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// A tree that is drawn anew.
    Live,
    /// A line for each thing that happens.
    Lines,
    /// Not at all.
    Nothing,
}

/// How watching ended.
#[derive(Debug)]
pub struct Ending {
    /// The job as its events told it.
    pub tree: JobTree,
    /// Whether the person left before the job ended.
    pub left: bool,
}

/// Watches `job` until it has ended, or a second Ctrl-C says to leave it.
pub async fn watch(client: &Client, job: &str, phases: &[String], show: Show) -> Result<Ending, Failure> {
    let types = if show == Show::Live { TYPES_WITH_OUTPUT } else { TYPES };
    let query = Query { job: Some(job.to_owned()), types: Some(types.into()), follow: true, ..Query::default() };
    let mut events = feed::events(Feed::open(client, query).await?);
    let mut tree = JobTree::new(phases);
    let screen = Screen::new(show);
    let mut redraw = tokio::time::interval(REDRAW);
    redraw.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut interrupts = Interrupts::new();
    let mut cancelled = false;
    while tree.end.is_none() {
        tokio::select! {
            event = events.recv() => match event {
                Some(Ok(event)) => {
                    tree.apply(&event);
                    screen.tell(lines::line(&tree, &event));
                }
                None => break,
                Some(Err(failure)) => {
                    screen.close(&[]);
                    return Err(failure);
                }
            },
            _ = redraw.tick(), if show == Show::Live => screen.draw(&tree),
            () = interrupts.next() => {
                if std::mem::replace(&mut cancelled, true) {
                    screen.close(&[]);
                    return Ok(Ending { tree, left: true });
                }
                screen.say("cancelling; Ctrl-C again leaves the job running");
                cancel(client, job);
            }
        }
    }
    screen.close(&tree.summary(screen.layout(usize::MAX)));
    Ok(Ending { tree, left: false })
}

/// Asks for the job's end, beside what is shown.
fn cancel(client: &Client, job: &str) {
    let (client, path) = (client.clone(), format!("/v1/jobs/{}/cancel", segment(job)));
    tokio::spawn(async move {
        // A refusal means that the job has just ended, which the feed tells.
        let _ = client.post(&path, &json!({"reason": "interrupted at the command line"})).await;
    });
}

/// Standard error.
struct Screen {
    show: Show,
    term: Term,
    paint: Paint,
    bar: Option<ProgressBar>,
}

impl Screen {
    fn new(show: Show) -> Self {
        let bar = (show == Show::Live).then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.set_style(
                ProgressStyle::default_spinner().template("{msg}").unwrap_or(ProgressStyle::default_spinner()),
            );
            bar
        });
        Self { show, term: Term::stderr(), paint: Paint::for_terminal(&std::io::stderr()), bar }
    }

    fn layout(&self, rows: usize) -> Layout {
        let (height, width) = self.term.size_checked().unwrap_or((24, 100));
        // One row stays free below, and the last column, so that nothing wraps or scrolls.
        let rows = rows.min(usize::from(height).saturating_sub(2).max(3));
        Layout { rows, columns: usize::from(width).saturating_sub(1).max(20), paint: self.paint }
    }

    fn draw(&self, tree: &JobTree) {
        if let Some(bar) = &self.bar {
            bar.set_message(tree.frame(duration::now(), self.layout(usize::MAX)).join("\n"));
            bar.tick();
        }
    }

    fn tell(&self, line: Option<String>) {
        if let (Show::Lines, Some(line)) = (self.show, line) {
            // Nobody reads standard error any more: the job goes on.
            let _ = writeln!(std::io::stderr(), "{line}");
        }
    }

    fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => {
                let _ = writeln!(std::io::stderr(), "{text}");
            }
        }
    }

    fn close(&self, summary: &[String]) {
        let Some(bar) = &self.bar else { return };
        bar.finish_and_clear();
        for line in summary {
            let _ = writeln!(std::io::stderr(), "{line}");
        }
    }
}
