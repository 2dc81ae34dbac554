//! Clients: they submit, signal, decide, cancel, delete, and remember what they were told.

use crate::{agents::STATEMENTS, scripts, world::World};
use moonlog_core::{
    event::{CatchUp, Decision, Overlap, RetryPolicy, ScheduleSet},
    id::{Hash, JobId},
    json::Json,
    projection::JobFilter,
};
use moonlog_runner::{Bulk, Fork, Retry, Runner, ScriptSource, SetSchedule, Submit};
use std::{sync::Arc, time::Duration};

/// How many jobs are submitted in a run, those aside that come of others.
pub const JOBS: u64 = 7;
/// The schedule that is set and removed.
pub const SCHEDULE: &str = "tick";
/// Every script is done with so many idempotency keys.
const KEYS: u64 = 3;

pub struct Client {
    pub world: Arc<World>,
    pub runner: Runner,
}

impl Client {
    /// Something from outside happens.
    pub async fn act(self) {
        if self.world.has_agents && self.world.one_in(4) {
            return self.converse().await;
        }
        let kind = self.world.below(43);
        match kind {
            0..=9 => self.submit().await,
            10..=19 => self.signal("go").await,
            20 => self.signal("other").await,
            21..=24 => self.decide_all().await,
            25 | 26 => self.cancel().await,
            27 => drop(self.runner.pause_queue("narrow").await),
            28..=30 => drop(self.runner.resume_queue("narrow").await),
            31 | 32 => self.delete().await,
            33 | 34 => self.retry().await,
            35 => self.bulk().await,
            42 => self.fork().await,
            36 | 37 => drop(self.runner.views().checkpoint()),
            38 => {
                let by = self.world.below(4_000) as i64;
                self.world.jump_ms(by - 2_000);
            }
            39 | 40 => self.schedule().await,
            41 => {
                if let Err(error) = self.runner.log().verify().map(|report| assert!(report.is_sound(), "{report:?}")) {
                    self.world.fail(format!("the log cannot be verified: {error}"));
                }
            }
            _ => unreachable!(),
        }
    }

    fn job(&self) -> Option<JobId> {
        let jobs: Vec<JobId> = {
            let memory = self.world.memory();
            memory.jobs.iter().chain(memory.said.keys()).copied().collect()
        };
        (!jobs.is_empty()).then(|| jobs[self.world.below(jobs.len() as u64) as usize])
    }

    async fn submit(&self) {
        let (request, key, wait_ms) = {
            if self.world.memory().jobs.len() as u64 >= JOBS {
                return;
            }
            let now = self.world.now();
            let mut chance = self.world.chance();
            let key = chance.one_in(2).then(|| format!("key {}", chance.below(KEYS)));
            // Under one key always the same.
            let source = match &key {
                Some(key) => format!("sleep('3ms') log('{key}') wait_for('go') return 'done'"),
                None => {
                    // Some runs have agents and hosts, so that what goes without them is tried as often as before.
                    let also = if self.world.has_agents { &STATEMENTS[..] } else { &[] };
                    scripts::script(&mut chance, also)
                }
            };
            let hash = Hash::of(source.as_bytes());
            let mut request = Submit::new(ScriptSource::Script { source, name: Some("test".into()) });
            request.idempotency_key = key.clone();
            request.request_hash = key.is_some().then_some(hash);
            if key.is_none() {
                request.priority = chance.below(3) as i32;
                request.queue = match chance.below(5) {
                    0 | 1 => Some("narrow".into()),
                    2 => Some("rated".into()),
                    _ => None,
                };
                request.concurrency_key = chance.one_in(4).then(|| "key".into());
                request.run_at = chance.one_in(6).then(|| now.plus_ms(chance.below(40)));
                if chance.one_in(3) {
                    let backoff_ms = chance.below(30);
                    request.retry = Some(RetryPolicy { max: 2, backoff_ms, factor: 1.0, max_backoff_ms: 100 }.into());
                }
                request.timeout_ms = chance.one_in(8).then(|| 20 + chance.below(200));
            }
            let wait_ms = chance.one_in(2).then(|| chance.below(60));
            (request, key, wait_ms)
        };
        let submitted = match wait_ms {
            None => self.runner.submit(request).await,
            Some(ms) => self.runner.submit_and_wait(request, tokio::time::sleep(Duration::from_millis(ms))).await,
        };
        let Ok(submitted) = submitted else { return };
        let mut memory = self.world.memory();
        if let Some(key) = key {
            let first = *memory.keys.entry(key.clone()).or_insert(submitted.job);
            let gone = memory.deletes.contains_key(&first);
            if gone {
                memory.keys.insert(key, submitted.job);
            } else if first != submitted.job {
                memory.failure.get_or_insert(format!("{key} has two jobs: {first} and {}", submitted.job));
            }
        }
        if !memory.jobs.contains(&submitted.job) {
            memory.jobs.push(submitted.job);
        }
    }

    async fn signal(&self, name: &str) {
        let Some(job) = self.job() else { return };
        let key = self.world.one_in(2).then(|| format!("signal {}", self.world.new_id()));
        let sent = self.runner.signal(&job, name, Json::null(), key.clone()).await;
        if let (Ok(()), Some(key)) = (sent, key) {
            self.world.memory().signals.insert(key, job);
        }
    }

    async fn decide_all(&self) {
        for approval in self.runner.views().with(|all| all.approvals()) {
            let decision = if self.world.one_in(2) { Decision::Approved } else { Decision::Denied };
            let _ = self.runner.decide(&approval.job, &approval.id, decision, None, None).await;
        }
    }

    async fn cancel(&self) {
        let Some(job) = self.job() else { return };
        if self.runner.cancel(&job, None).await.is_ok() {
            self.world.memory().cancels.insert(job);
        }
    }

    async fn delete(&self) {
        let Some(job) = self.job() else { return };
        if !self.runner.job(&job).is_ok_and(|job| job.is_some_and(|job| job.status.is_ended())) {
            return;
        }
        self.world.memory().deletes.entry(job).or_insert(false);
        match self.runner.delete(&job).await {
            Ok(()) => drop(self.world.memory().deletes.insert(job, true)),
            Err(error) if matches!(error.code(), "stopping" | "unavailable" | "log_refuses") => {}
            // It was refused, and is there as before; or the log failed in the middle.
            Err(_) => {}
        }
    }

    async fn retry(&self) {
        let Some(job) = self.job() else { return };
        if let Ok(again) = self.runner.retry(&job, Retry::default()).await {
            self.world.memory().jobs.push(again);
        }
    }

    /// Another job with the same past, up to somewhere.
    async fn fork(&self) {
        let Some(job) = self.job() else { return };
        let Ok(Some(state)) = self.runner.job(&job) else { return };
        let at = 1 + self.world.below(state.version);
        if let Ok(fork) = self.runner.fork(&job, Fork { at, script: None, args: None }).await {
            self.world.memory().jobs.push(fork);
        }
    }

    /// Sets the one schedule there is, or removes it.
    async fn schedule(&self) {
        if self.world.one_in(4) {
            return drop(self.runner.remove_schedule(SCHEDULE).await);
        }
        let set = {
            let mut chance = self.world.chance();
            ScheduleSet {
                cron: "* * * * * *".into(),
                workflow: chance.of(&["quick", "naps", "fails"]).into(),
                args: Json::from_written("{\"s\":1.5}".into()),
                time_zone: "UTC".into(),
                overlap: chance.of(&[Overlap::Skip, Overlap::Queue, Overlap::Replace]),
                catch_up: chance.of(&[CatchUp::None, CatchUp::Last, CatchUp::All]),
                jitter_ms: chance.of(&[0, 20]),
                queue: chance.one_in(2).then(|| "narrow".into()),
                ..ScheduleSet::default()
            }
        };
        let _ = self.runner.set_schedule(SetSchedule { name: SCHEDULE.into(), set }).await;
        // Until it has come once.
        if self.world.one_in(2) {
            tokio::time::sleep(Duration::from_millis(1_100)).await;
        }
    }

    async fn bulk(&self) {
        let bulk = Bulk { filter: JobFilter::default(), limit: 3, dry_run: self.world.one_in(2) };
        let _ = self.runner.cancel_all(bulk, None).await;
    }
}
