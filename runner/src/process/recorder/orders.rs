//! What the supervisor reports, and what the process's handles ask for.

use super::Recorder;
use crate::process::{
    handle::Command,
    host::{Order, Report},
};
use moonlog_core::event::{EventBody, ProcessBackgrounded};
use std::{sync::atomic::Ordering, time::Duration};
use tokio::time::Instant;

impl Recorder {
    pub(super) fn on_report(&mut self, report: Option<Report>) {
        match report {
            Some(Report::Exited(_) | Report::Signalled(_)) if self.state.ended.is_none() => self.on_end(report),
            Some(Report::Gone | Report::Remains) => self.on_gone(report),
            Some(_) => {}
            // The supervisor died. What it looked after is killed by the host.
            None => self.on_gone(report),
        }
    }

    fn on_end(&mut self, report: Option<Report>) {
        let now = Instant::now();
        self.state.ended = report;
        self.state.wall = now - self.state.started;
        self.state.drain = Some(now + Duration::from_millis(self.limits.drain_ms));
    }

    fn on_gone(&mut self, report: Option<Report>) {
        if report == Some(Report::Remains) {
            tracing::warn!(process = %self.shared.id, pid = self.shared.pid, "something that it started cannot be killed");
        }
        self.state.gone = true;
        if self.state.ended.is_none() {
            self.on_end(Some(report.unwrap_or(Report::Gone)));
        }
        // Nobody is left who could write.
        self.state.drain = self.state.drain.map(|_| Instant::now());
    }

    pub(super) fn on_command(&mut self, command: Command) {
        match command {
            Command::Kill => {
                self.state.sent.push(libc::SIGKILL);
                self.kill();
            }
            Command::TimeOut => {
                self.look_for_reports();
                if self.state.ended.is_none() {
                    self.state.timed_out = true;
                    self.kill();
                }
            }
            Command::Signal { number, reply } => {
                self.look_for_reports();
                // Where nothing is left, or all that can be said of its end is still to be recorded, the reply's end
                // says so.
                if !self.state.gone && (self.state.ended.is_none() || self.state.recorded) {
                    self.signal(number);
                    let _ = reply.send(());
                }
            }
            Command::Cancel if self.state.grace.is_none() && !self.state.gone => {
                self.signal(libc::SIGTERM);
                self.state.sent.push(libc::SIGKILL);
                self.state.grace = Some(Instant::now() + Duration::from_millis(self.limits.grace_ms));
            }
            Command::Cancel => {}
            Command::Background { reason, reply } => {
                self.look_for_reports();
                // Where it has ended, the reply's end says so.
                if self.state.ended.is_none() {
                    self.background(reason);
                    let _ = reply.send(());
                }
            }
        }
    }

    /// What has happened already shall count, even if it was not heard yet.
    fn look_for_reports(&mut self) {
        while let Some(report) = self.control.try_report() {
            self.on_report(Some(report));
        }
    }

    fn signal(&mut self, signal: i32) {
        self.state.sent.push(signal);
        match signal {
            libc::SIGKILL => self.kill(),
            _ => {
                self.control.order(Order::Signal(signal));
            }
        }
    }

    pub(super) fn kill(&mut self) {
        if !self.state.gone && !self.control.order(Order::Kill) {
            // The supervisor does not listen; the end of the connection it will notice.
            self.control.close();
        }
    }

    fn background(&mut self, reason: String) {
        self.shared.background.store(true, Ordering::Release);
        self.shared.stop_capturing();
        self.append(vec![EventBody::ProcessBackgrounded(ProcessBackgrounded { reason })]);
    }
}
