//! Results of an earlier run: which stand for operations of a later one, and which do not.

use crate::world::{Say, Told, World, engine, job, listing};
use moonlog_core::{
    event::{CachedFrom, Event, EventBody, StepOutcome, StepStarted},
    id::Hash,
    json::Json,
};
use moonlog_scripts::{Earlier, Found, Limits, RunState, Wanted};
use std::{collections::HashMap, sync::Arc};

/// The successful results of a run, by call path and spec hash, and those that were shared.
#[derive(Debug, Default)]
struct Recorded {
    by_path: HashMap<(String, Hash), (u64, Json)>,
    shared: HashMap<Hash, (u64, Json)>,
}

impl Recorded {
    fn of(events: &[Arc<Event>]) -> Arc<Self> {
        let (mut recorded, mut hashes) = (Self::default(), HashMap::new());
        for event in events {
            match &event.body {
                EventBody::StepStarted(step) => {
                    let shares = !step.input.to_value()["cache_ms"].is_null();
                    hashes.insert(step.path.clone(), (step.spec_hash, shares));
                }
                EventBody::StepFinished(end) if end.outcome == StepOutcome::Ok => {
                    let (hash, shares) = hashes[&end.path];
                    let result = (event.position, end.output.clone().unwrap());
                    recorded.by_path.insert((end.path.clone(), hash), result.clone());
                    if shares {
                        recorded.shared.insert(hash, result);
                    }
                }
                _ => {}
            }
        }
        recorded.into()
    }
}

impl Earlier for Recorded {
    fn find(&self, wanted: &Wanted<'_>) -> Option<Found> {
        let by_path = self.by_path.get(&(wanted.path.to_owned(), *wanted.spec_hash)).filter(|_| wanted.resumes);
        let (position, output) = by_path.or_else(|| wanted.cache_ms.and_then(|_| self.shared.get(wanted.spec_hash)))?;
        Some(Found { output: output.clone(), from: CachedFrom { job: job(), position: *position } })
    }
}

fn answers(step: &StepStarted) -> Say {
    match step.input.to_value()["command"].as_str() {
        Some("bad") => Say::Bad(StepOutcome::Error, "bad"),
        _ => Say::Ok("1"),
    }
}

/// Runs `first`, then `second` with its results; gives what the second did anew and what it took over, by path.
fn resumed(first: &str, second: &str) -> (Vec<String>, Vec<String>, Told) {
    let first = World::new(first, answers).run(&[]).unwrap();
    let told = World { earlier: Some(Recorded::of(&first.events)), ..World::new(second, answers) }.told();
    assert_eq!(World::unpaired(&told.events), Vec::<String>::new());
    let (mut anew, mut reused) = (Vec::new(), Vec::new());
    for event in &told.events {
        let EventBody::StepFinished(end) = &event.body else { continue };
        if end.cached { &mut reused } else { &mut anew }.push(end.path.clone());
        assert_eq!(end.cached, end.cached_from.is_some());
    }
    anew.sort();
    reused.sort();
    (anew, reused, told)
}

#[test]
fn what_succeeded_at_the_same_place_with_the_same_input_is_not_done_again() {
    let source = "exec('a') exec('b') pcall(exec, 'bad', {}, {check = true}) exec('c') return step('s', function() return 7 end)";
    let (anew, reused, told) = resumed(source, source);
    assert_eq!(reused, ["exec", "exec:2", "exec:4"]);
    assert_eq!(anew, ["exec:3", "s"], "a failure is done again, and a step that says nothing of its input behind it");
    assert!(matches!(told.state, RunState::Returned(ref json) if json.as_str() == "7"));
    assert!(listing(&told.events).starts_with("job.started\nstart exec exec 1\nend exec 1 Ok\nstart exec exec:2 1"));
}

#[test]
fn a_change_in_one_branch_leaves_the_others_alone() {
    let source = |command: &str| {
        format!(
            "local r = parallel {{
                a = function() exec('x') step('s', function() end) return step('t', {{input = 1}}, function() return 2 end) end,
                b = function() exec('{command}') step('s', function() end) return step('t', {{input = 1}}, print) end,
            }}
            exec('z')
            return step('u', function() return 3 end)"
        )
    };
    let (anew, reused, _) = resumed(&source("x"), &source("y"));
    // The script is another one: a step without an input covers it.
    assert_eq!(anew, ["a/s", "b/exec", "b/s", "u"]);
    assert_eq!(reused, ["a/exec", "a/t", "b/t", "exec"]);
    let (anew, reused, _) = resumed(&source("x"), &source("x"));
    assert_eq!(anew, Vec::<String>::new());
    assert_eq!(reused.len(), 8);
}

#[test]
fn a_step_without_an_input_needs_everything_before_it_to_be_reused() {
    let source = "local r = parallel({
            function() exec('x') return step('s', function() return 1 end) end,
            function() pcall(exec, 'bad', {}, {check = true}) return step('s', function() return 2 end) end,
            function() return step('s', function() return 3 end) end,
        }, {limit = 1})
        return step('after', function() return 4 end)";
    let (anew, reused, _) = resumed(source, source);
    assert_eq!(anew, ["2/exec", "2/s", "after"], "what failed is before the join, not beside it");
    assert_eq!(reused, ["1/exec", "1/s", "3/s"]);
}

#[test]
fn a_flow_does_again_what_depends_on_what_changed() {
    let source = "return flow { steps = {
            { id = 'a', run = function() pcall(exec, 'bad', {}, {check = true}) return 1 end, when = function() exec('bad') return true end },
            { id = 'b', run = function() exec('x') return 1 end },
            { id = 'c', deps = {'a'}, run = function() return 1 end },
            { id = 'd', deps = {'b'}, run = function() return 1 end },
            { id = 'e', deps = {'c', 'd'}, run = function() return 1 end },
            { id = 'f', kind = 'switch', deps = {'d'}, cases = {{when = function() return true end, steps = {'g'}}} },
            { id = 'g', run = function() return 1 end },
            { id = 'h', deps = {'d'}, when = function() return false end, run = print },
            { id = 'i', deps = {'h'}, trigger = 'all_done', run = function() return 1 end },
        } }.results.e";
    let (anew, reused, _) = resumed(source, source);
    assert_eq!(reused, ["b", "d", "f", "g", "i"]);
    assert_eq!(anew, ["a", "a/exec", "a@1/exec", "c", "e", "h"]);
}

#[test]
fn steps_inside_a_step_that_failed_are_kept() {
    let first = "pcall(step, 'outer', function() step('inner', function() return 1 end) exec('x') exec('bad', {}, {check = true}) end)";
    let (anew, reused, _) = resumed(first, first);
    assert_eq!(reused, ["outer@1/exec", "outer@1/inner"]);
    assert_eq!(anew, ["outer", "outer@1/exec:2"]);
}

#[test]
fn what_was_spawned_counts_when_it_is_waited_for() {
    let source = "local h = spawn(function() exec('bad') end)
        step('before', function() end)
        h:wait()
        step('after', function() end)";
    let (anew, reused, _) = resumed(source, source);
    assert_eq!((anew, reused), (vec!["after".into(), "spawn/exec".into()], vec!["before".into()]));
}

#[test]
fn a_shared_result_stands_for_the_same_operation_anywhere() {
    let first = "exec('x', {}, {cache = '1h'}) exec('y') step('s', {input = 1, cache = 60}, function() return 5 end)";
    let second = "parallel { a = function() exec('y') exec('x', {}, {cache = '2h'}) exec('x') end }
        return step('s', {input = 2, cache = 60}, function() return 6 end) + step('s', {input = 1, cache = 60}, print)";
    let (anew, reused, told) = resumed(first, second);
    assert_eq!(reused, ["a/exec:2", "s:2"]);
    assert_eq!(anew, ["a/exec", "a/exec:3", "s"]);
    assert!(matches!(told.state, RunState::Returned(ref json) if json.as_str() == "11"));
}

#[test]
fn a_job_is_warned_before_it_reaches_a_limit() {
    let limits = Limits { steps_max: 10, events_max: 30, ..Limits::default() };
    let source = "for i = 1, 10 do step('s', function() end) log('x') end";
    let told = World { engine: engine(limits), ..World::new(source, answers) }.run(&[]).unwrap();
    let log = listing(&told.events);
    assert!(matches!(told.state, RunState::Returned(_)), "{log}");
    assert!(log.contains("start step s:8 1\nlog - warn the job has begun 8 of at most 10 steps; continue_as"), "{log}");
    assert!(log.contains("log - warn the job has caused 24 of at most 30 events; continue_as"), "{log}");
    assert_eq!(log.matches("warn").count(), 2, "{log}");
    // Under other limits the same history still fits.
    let again = World::new(source, answers).run(&told.events[..told.events.len() - 1]).unwrap();
    assert_eq!(again.state, told.state);
}
