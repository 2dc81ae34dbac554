//! Graphs of steps, branches and replay: what the scheduler and the script host cost by themselves, with no server, no log
//! and nothing to perform.

use crate::{
    Outcome,
    options::Options,
    report::{Table, Unit, median},
};
use moonlog_core::{
    event::{Event, EventBody, JobStarted, NewEvent, StreamId},
    flow::{Batch, FlowDecision, FlowDefinition, FlowEnd, FlowScheduler, FlowStepDefinition, Join},
    id::{Hash, JobId},
    json::Json,
    time::Timestamp,
};
use moonlog_scripts::{Engine, EngineOptions, Input, Run, RunSpec, RunState};
use std::{sync::Arc, time::Instant};

/// How long a replay of 50,000 steps may take, in milliseconds.
const REPLAY_TARGET_MS: f64 = 5_000.0;

/// Scheduler decisions, then scripts.
pub fn run(options: &Options) -> Outcome {
    let rounds = options.either(5, 3);
    let mut table = Table::new(
        "flow",
        "decisions of the scheduler, each step with four dependencies",
        &[("decisions", Unit::PerSecond), ("of 1,000 steps", Unit::Ratio)],
    );
    let mut of_thousand = None;
    for steps in [1_000, 10_000] {
        let definition = graph(steps);
        let rates = (0..rounds).map(|_| decide(&definition)).collect::<Outcome<Vec<f64>>>()?;
        let rate = median(&rates);
        let ratio = rate / *of_thousand.get_or_insert(rate);
        table.row(format!("{steps} steps"), [Some(rate), Some(ratio)]);
    }
    table.note("a cost that grew with the square of the steps would show as 0.1");
    table.print();

    let mut table = Table::new(
        "scripts",
        "steps of a script that does nothing else, run and replayed",
        &[("steps", Unit::Count), ("run", Unit::PerSecond), ("replay", Unit::PerSecond), ("replay time", Unit::Ms)],
    );
    let wide = "local b = {} for i = 1, 1000 do b[i] = function() return step('s', function() return i end) end end \
                parallel(b)";
    let long = "local items = {} for i = 1, 4096 do items[i] = i end \
                local function stage(v) return step('s', function() return v + 1 end) end \
                pipeline(items, stage, stage, stage)";
    let graph = "local steps = {} for i = 1, 10000 do local deps = {} \
                 for d = 1, 4 do local n = i - d * 7 if n > 0 then deps[#deps + 1] = 's' .. n end end \
                 steps[i] = {id = 's' .. i, deps = deps, run = function() return i end} end flow {steps = steps}";
    let most = "for i = 1, 50000 do step('s', function() return i end) end";
    let workloads = [
        ("parallel of 1,000", 1_000, wide),
        ("pipeline of 4,096 x 3", 3 * 4_096, long),
        ("flow of 10,000", 10_000, graph),
        ("50,000 in a row", 50_000, most),
    ];
    for (name, steps, source) in workloads {
        let (mut run, mut replay) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let (seconds, history) = drive(source, &[])?;
            run.push(f64::from(steps) / seconds);
            replay.push(drive(source, &history)?.0);
        }
        let seconds = median(&replay);
        table.row(
            name,
            [Some(f64::from(steps)), Some(median(&run)), Some(f64::from(steps) / seconds), Some(seconds * 1_000.0)],
        );
    }
    table.note(format!("target: 50,000 steps are replayed in {REPLAY_TARGET_MS} ms"));
    table.print();
    Ok(())
}

/// A graph in which every step but the first few has four dependencies, with a batch.
fn graph(steps: usize) -> FlowDefinition {
    let step = |index: usize| FlowStepDefinition {
        id: format!("s{index}"),
        deps: [7, 14, 21, 28].into_iter().filter_map(|back| Some(format!("s{}", index.checked_sub(back)?))).collect(),
        batch: index.is_multiple_of(3).then(|| "b".into()),
        ..FlowStepDefinition::default()
    };
    let batch = Batch { name: "b".into(), max_concurrent: 2, join: Join::AllDone };
    FlowDefinition { steps: (0..steps).map(step).collect(), batches: vec![batch], max_running: 64 }
}

/// Decisions in a second, the check of the definition included.
fn decide(definition: &FlowDefinition) -> Outcome<f64> {
    let begun = Instant::now();
    let mut scheduler = FlowScheduler::new(definition)?;
    let (mut running, mut decisions) = (std::collections::VecDeque::new(), 0_u32);
    loop {
        while let Some(decision) = scheduler.next_decision() {
            decisions += 1;
            if let FlowDecision::Start(step) = decision {
                running.push_back(step);
            }
        }
        let Some(step) = running.pop_front() else { break };
        scheduler.ended(step, FlowEnd::Completed);
    }
    Ok(f64::from(decisions) / begun.elapsed().as_secs_f64())
}

/// Runs a script to its end, over a history where there is one: how long that took, in seconds, and its events.
fn drive(source: &str, history: &[Arc<Event>]) -> Outcome<(f64, Vec<Arc<Event>>)> {
    let engine = Engine::new(EngineOptions { warm: 1, ..EngineOptions::default() });
    let mut events = history.to_vec();
    if events.is_empty() {
        let started = JobStarted { attempt: 1, run: 1, runner: "bench".into() };
        push(&mut events, EventBody::JobStarted(started).into());
    }
    let begun = Instant::now();
    let (mut run, mut slice) = Run::start(&engine, spec(source), &events)?;
    loop {
        slice.intents.into_iter().for_each(|intent| push(&mut events, intent));
        match slice.state {
            RunState::Returned(_) => return Ok((begun.elapsed().as_secs_f64(), events)),
            RunState::More => slice = run.resume(Input::Continue)?,
            other => return Err(format!("the script did not come to its end: {other:?}").into()),
        }
    }
}

fn spec(source: &str) -> RunSpec {
    RunSpec {
        job: JobId::from_bytes([1; 16]),
        run: 1,
        workflow: "bench".into(),
        source: source.into(),
        script_hash: Hash::of(source.as_bytes()),
        args: Json::from_written("{}".into()),
        seed: 1,
        started_at: Timestamp::from_micros(1_760_000_000_000_000),
        nesting: 1,
        budget_total: None,
        stop: Default::default(),
        earlier: None,
    }
}

fn push(events: &mut Vec<Arc<Event>>, new: NewEvent) {
    let position = events.len() as u64 + 1;
    events.push(Arc::new(Event {
        position,
        stream: StreamId::Job(JobId::from_bytes([1; 16])),
        version: position,
        time: Timestamp::from_micros(1_760_000_000_000_000 + position as i64),
        job: Some(JobId::from_bytes([1; 16])),
        session: None,
        process: None,
        step: new.step,
        cause: new.cause.map(|cause| cause.position(position)),
        origin: None,
        body: new.body,
        blob: None,
    }));
}
