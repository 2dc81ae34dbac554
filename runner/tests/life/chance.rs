//! Jobs made by chance, with signals, cancels, decisions, restarts and power cuts at any moment. In the end every job ends,
//! and every log holds what must hold of a log. A failure names its seed; `MOONLOG_TEST_SEED` runs that one alone.

use crate::{
    place::Place,
    scripts::{self, Chance},
};
use moonlog_core::{
    event::{Decision, RetryPolicy},
    id::JobId,
    json::Json,
    projection::JobStatus,
};
use moonlog_runner::{QueueOptions, Submit};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

const SCRIPTS: u64 = 6;
const LIVES: u64 = 4;

fn submit(chance: &mut Chance, submit: &mut Submit) {
    submit.priority = chance.below(3) as i32;
    submit.queue = chance.one_in(3).then(|| "narrow".into());
    submit.concurrency_key = chance.one_in(4).then(|| "key".into());
    submit.run_at = chance.one_in(6).then(|| crate::place::now().plus_ms(chance.below(40)));
    if chance.one_in(3) {
        submit.retry =
            Some(RetryPolicy { max: 2, backoff_ms: chance.below(30), factor: 1.0, max_backoff_ms: 100 }.into());
    }
    submit.timeout_ms = chance.one_in(8).then(|| 20 + chance.below(200));
}

/// Something from outside happens to one of the jobs.
fn happen(place: &Place, chance: &mut Chance, jobs: &[JobId]) {
    let job = chance.of(jobs);
    match chance.below(12) {
        0..=5 => {
            let _ = place.block_on(place.runner.signal(&job, "go", Json::null(), None));
        }
        6 => {
            let _ = place.block_on(place.runner.signal(&job, "other", Json::null(), None));
        }
        7 | 8 => decide_all(place),
        9 => {
            let _ = place.block_on(place.runner.cancel(&job, None));
        }
        10 => {
            let _ = place.block_on(place.runner.pause_queue("narrow"));
        }
        _ => {
            let _ = place.block_on(place.runner.resume_queue("narrow"));
        }
    }
}

fn decide_all(place: &Place) {
    for approval in place.runner.views().with(|all| all.approvals()) {
        let _ = place.block_on(place.runner.decide(&approval.job, &approval.id, Decision::Denied, None, None));
    }
}

/// A few lives of a runner with a few jobs.
fn live(seed: u64) {
    let mut chance = Chance::new(seed);
    let evict = chance.of(&[0, 0, 1, 5, 1_000]);
    let mut place = Place::with(move |options| {
        options.idle_evict_ms = evict;
        options.concurrency = 4;
        options.checkpoint_events = 40;
        options
            .queues
            .insert("narrow".into(), QueueOptions { concurrency: 1, capacity: 100, ..QueueOptions::default() });
    });
    let mut jobs = Vec::new();
    for _ in 0..LIVES {
        let until = Instant::now() + Duration::from_millis(20 + chance.below(80));
        while Instant::now() < until {
            if (jobs.len() as u64) < SCRIPTS && (jobs.is_empty() || chance.one_in(2)) {
                let script = scripts::script(&mut chance, &[]);
                jobs.push(place.submit_with(&script, |request| submit(&mut chance, request)));
            }
            happen(&place, &mut chance, &jobs);
        }
        let kept = chance.below(20) as usize;
        place = if chance.one_in(3) { place.restart() } else { place.kill(kept) };
    }
    place.block_on(place.runner.resume_queue("narrow")).unwrap();
    // What was acknowledged is there after any number of power cuts.
    for job in &jobs {
        let until = Instant::now() + Duration::from_secs(20);
        while !place.runner.job(job).unwrap().expect("a job that was acknowledged").status.is_ended() {
            let _ = place.block_on(place.runner.signal(job, "go", Json::null(), None));
            std::thread::sleep(Duration::from_millis(1));
            assert!(Instant::now() < until, "{job} does not end\n{}", place.listing());
        }
        let view = place.ended(job);
        if view.state == JobStatus::Completed {
            assert_eq!(place.result(job), format!("\"done\""), "{}", place.listing());
        }
    }
    let children: Vec<JobId> = jobs.iter().flat_map(|job| place.children(job)).collect();
    children.iter().for_each(|child| drop(place.ended(child)));
    assert!(place.runner.processes().running().is_empty());
    assert!(place.runner.log().verify().unwrap().is_sound());
    place.check();
}

#[test]
fn every_job_ends_and_every_log_holds() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("MOONLOG_TEST_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("MOONLOG_TEST_SEEDS").unwrap_or(16)).collect(),
    };
    // Each mostly waits: several at a time.
    for seeds in seeds.chunks(4) {
        std::thread::scope(|scope| {
            for seed in seeds {
                scope.spawn(move || {
                    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| live(*seed))) {
                        eprintln!("MOONLOG_TEST_SEED={seed}");
                        std::panic::resume_unwind(panic);
                    }
                });
            }
        });
    }
}
