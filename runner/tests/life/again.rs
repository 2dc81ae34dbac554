//! Jobs that come of other jobs: resumed ones, shared results, forks.

use crate::place::Place;
use moonlog_core::{
    event::{EventBody, StepOutcome},
    id::JobId,
    json::Json,
    projection::JobStatus,
};
use moonlog_runner::{CacheOptions, Fork, Retry, ScriptSource};

/// The paths of a job's steps that ended well, and whether each was taken over.
fn ended(place: &Place, job: &JobId) -> Vec<(String, bool)> {
    let ends = place.events(job).into_iter().filter_map(|event| match &event.body {
        EventBody::StepFinished(end) if end.outcome == StepOutcome::Ok => {
            assert_eq!(end.cached, end.cached_from.is_some());
            Some((end.path.clone(), end.cached))
        }
        _ => None,
    });
    ends.collect()
}

fn cached(place: &Place, job: &JobId) -> Vec<String> {
    ended(place, job).into_iter().filter_map(|(path, cached)| cached.then_some(path)).collect()
}

fn logged(place: &Place, job: &JobId) -> Vec<String> {
    let lines = place.events(job).into_iter().filter_map(|event| match &event.body {
        EventBody::JobLogged(log) => Some(log.message.clone()),
        _ => None,
    });
    lines.collect()
}

fn script(source: &str) -> Option<ScriptSource> {
    Some(ScriptSource::Script { source: source.into(), name: None })
}

#[test]
fn a_retried_job_takes_over_what_succeeded() {
    let place = Place::start();
    let marks = tempfile::tempdir().unwrap();
    let file = marks.path().join("runs");
    let source = |then: &str| {
        format!(
            "local r, e = parallel {{
                a = function() return sh('echo a >> {0}; echo a').stdout end,
                b = function() return step('pure', {{input = 1}}, function() return sh('echo b >> {0}; echo b').stdout end) end,
                c = function() return workflow('quick', {{n = 3}}) end,
            }}
            {then}
            return r",
            file.display()
        )
    };
    let job = place.submit(&source("assert(exec('false').ok, 'not yet')"));
    assert_eq!(place.ended(&job).state, JobStatus::Failed);
    let again = place.block_on(place.runner.retry(&job, Retry::default())).unwrap();
    assert_eq!(place.ended(&again).state, JobStatus::Failed);
    assert_eq!(place.ended(&again).resumed_from, Some(job));
    assert_eq!(cached(&place, &again), ["a/sh", "b/pure", "c/workflow"]);
    assert_eq!(logged(&place, &again), ["3 of 4 steps reused"]);
    let (view, steps) = (place.ended(&again), place.ended(&again).steps);
    assert_eq!((steps.total, steps.cached, view.steps.running), (4, 3, 0));
    // What was taken over can be taken over again.
    let retry = Retry { script: script(&source("")), args: None, ..Retry::default() };
    let mended = place.block_on(place.runner.retry(&again, retry)).unwrap();
    assert_eq!(place.result(&mended), r#"{"a":"a\n","b":"b\n","c":3}"#);
    assert_eq!(logged(&place, &mended), ["3 of 3 steps reused"]);
    let runs = std::fs::read_to_string(&file).unwrap();
    assert_eq!((runs.matches('a').count(), runs.matches('b').count()), (1, 1), "nothing was done twice");
    place.check();
}

#[test]
fn a_child_that_failed_takes_over_what_it_had_done() {
    let place = Place::start();
    let job = place.submit("return assert(workflow('halves', {n = 2}))");
    assert_eq!(place.ended(&job).state, JobStatus::Failed);
    let again = place.block_on(place.runner.retry(&job, Retry::default())).unwrap();
    assert_eq!(place.ended(&again).state, JobStatus::Failed);
    let (first, second) = (place.children(&job)[0], place.children(&again)[0]);
    assert_eq!(place.ended(&second).resumed_from, Some(first));
    assert_eq!(cached(&place, &second), ["sh"]);
    place.check();
}

#[test]
fn a_result_that_was_taken_over_names_where_it_stands() {
    let place = Place::start();
    let job = place.submit("return sh('echo x').stdout");
    place.result(&job);
    let again = place.block_on(place.runner.retry(&job, Retry::default())).unwrap();
    assert_eq!(place.result(&again), r#""x\n""#);
    let from = place.events(&again).iter().find_map(|event| match &event.body {
        EventBody::StepFinished(end) => end.cached_from,
        _ => None,
    });
    let from = from.unwrap();
    let there = place.runner.log().read(from.position - 1, 1).unwrap();
    assert_eq!((from.job, there[0].job), (job, Some(job)));
    assert_eq!(there[0].body.name(), "step.finished");
    place.check();
}

#[test]
fn a_resumed_job_goes_on_after_a_restart() {
    let place = Place::start();
    let job = place.submit("local a = exec('true').ok assert(exec('false').ok) return a");
    place.ended(&job);
    let source = "local a = exec('true').ok wait_for('go') return {a, step('s', function() return 1 end)}";
    let again = place.submit_with(source, |submit| submit.resume_from = Some(job));
    place.until_status(&again, JobStatus::Waiting);
    let place = place.restart();
    place.signal(&again, "go", "1");
    assert_eq!(place.result(&again), "[true,1]");
    assert_eq!(cached(&place, &again), ["exec"]);
    place.check();
}

#[test]
fn an_approval_that_was_given_is_not_asked_for_again_and_one_that_was_denied_is() {
    let place = Place::start();
    let job = place.submit("local a, b = approve('one').approved, approve('two').approved assert(b) return a");
    for (path, decision) in [("approve", "Approved"), ("approve:2", "Denied")] {
        place.until(path, || place.runner.job(&job).unwrap().unwrap().open_steps.contains_key(path).then_some(()));
        let decision = if decision == "Denied" {
            moonlog_core::event::Decision::Denied
        } else {
            moonlog_core::event::Decision::Approved
        };
        place.block_on(place.runner.decide(&job, path, decision, None, None)).unwrap();
    }
    assert_eq!(place.ended(&job).state, JobStatus::Failed);
    let again = place.block_on(place.runner.retry(&job, Retry::default())).unwrap();
    place.until_status(&again, JobStatus::Waiting);
    assert_eq!(cached(&place, &again), ["approve"]);
    assert_eq!(place.count(&again, "tool.approval_requested"), 1);
    place.cancel(&again);
    place.ended(&again);
    place.check();
}

#[test]
fn shared_results_are_found_by_what_was_asked_alone() {
    let place = Place::start();
    let marks = tempfile::tempdir().unwrap();
    let file = marks.path().join("runs");
    let first = format!("return sh('echo x >> {}', {{cache = '1h'}}).ok", file.display());
    let other = format!(
        "return parallel {{ b = function() return sh('echo x >> {}', {{cache = '2h'}}).ok end }}",
        file.display()
    );
    assert_eq!(place.result(&place.submit(&first)), "true");
    let second = place.submit(&other);
    assert_eq!(place.result(&second), r#"{"b":true}"#);
    assert_eq!(cached(&place, &second), ["b/sh"]);
    assert_eq!(logged(&place, &second), ["1 of 1 steps reused"]);
    // The index is made of the log again.
    let place = place.restart();
    let third = place.submit(&other);
    place.result(&third);
    assert_eq!(cached(&place, &third), ["b/sh"]);
    // Too old for who asks.
    let fourth = place.submit(&first.replace("'1h'", "0"));
    place.result(&fourth);
    assert_eq!(cached(&place, &fourth), Vec::<String>::new());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "x\nx\n");
    place.check();
}

#[test]
fn shared_results_beyond_their_limits_are_forgotten() {
    let small = |options: &mut moonlog_runner::RunnerOptions| options.cache.max_bytes = 3_000;
    let place = Place::with(small);
    let step = |n: u32| {
        format!("return #step('s', {{input = {n}, cache = '1h'}}, function() return string.rep('x', 900) end)")
    };
    for n in 0..4 {
        place.result(&place.submit(&step(n)));
    }
    let taken = |n| {
        let job = place.submit(&step(n));
        place.result(&job);
        cached(&place, &job).len()
    };
    assert_eq!([taken(3), taken(2), taken(0)], [1, 1, 0]);
    let place = Place::with(|options| options.cache = CacheOptions { max_age_ms: 0, ..CacheOptions::default() });
    place.result(&place.submit(&step(1)));
    std::thread::sleep(std::time::Duration::from_millis(2));
    let job = place.submit(&step(1));
    place.result(&job);
    assert_eq!(cached(&place, &job), Vec::<String>::new());
}

#[test]
fn a_fork_goes_on_from_a_version_with_the_same_past() {
    let place = Place::start();
    let source = "log(now()) local id, a = uuid(), sh('echo a').stdout
        local b = step('b', function() return now() > 0 end)
        local go = wait_for('go')
        return {id, a, b, go, sh('echo ' .. go).stdout}";
    let job = place.submit(source);
    place.until_status(&job, JobStatus::Waiting);
    place.signal(&job, "go", "1");
    let first = Json::parse(&place.result(&job)).unwrap().to_value();
    let waits = place.events(&job).iter().find(|event| event.body.name() == "job.waiting").unwrap().version;
    let at = |at| Fork { at, ..Fork::default() };
    let fork = place.block_on(place.runner.fork(&job, at(waits))).unwrap();
    place.until_status(&fork, JobStatus::Waiting);
    place.signal(&fork, "go", "2");
    let second = Json::parse(&place.result(&fork)).unwrap().to_value();
    assert_eq!(first[0], second[0], "the same randomness");
    assert_eq!((&second[1], &second[3], &second[4]), (&first[1], &2.into(), &"2\n".into()));
    assert_eq!(place.ended(&fork).forked_from.unwrap().at, waits);
    let own = place.events(&fork).iter().filter(|event| event.origin.is_none()).count();
    assert!(own < place.events(&fork).len(), "most of it is shared");
    let beyond = place.block_on(place.runner.fork(&job, at(10_000))).unwrap_err();
    assert!(beyond.to_string().contains("a fork can share"), "{beyond}");
    place.check();
}

#[test]
fn a_fork_of_a_cancelled_job_goes_on_from_before_its_end() {
    let place = Place::start();
    let job =
        place.submit("return (parallel({ function() return wait_for('a') end, function() return wait_for('b') end }))");
    place.until_status(&job, JobStatus::Waiting);
    place.cancel(&job);
    place.ended(&job);
    // All but the last event: the waits that the end has closed, too.
    let at = place.events(&job).len() as u64 - 1;
    let fork = place.block_on(place.runner.fork(&job, Fork { at, ..Fork::default() })).unwrap();
    place.until_status(&fork, JobStatus::Waiting);
    for name in ["a", "b"] {
        place.signal(&fork, name, "1");
    }
    assert_eq!(place.result(&fork), "[1,1]");
    place.check();
}

#[test]
fn a_fork_does_what_was_open_where_it_parts() {
    let place = Place::start();
    let marks = tempfile::tempdir().unwrap();
    let file = marks.path().join("runs");
    let source = format!("return {{sh('echo a >> {0}; echo a').stdout, workflow('naps', {{n = 4}})}}", file.display());
    let job = place.submit(&source);
    place.result(&job);
    let started = |kind: &str| {
        let events = place.events(&job);
        let start = events.iter().find(|e| matches!(&e.body, EventBody::StepStarted(step) if step.kind == kind));
        start.unwrap().version
    };
    for (kind, runs) in [("sh", 2), ("workflow", 2)] {
        let fork = Fork { at: started(kind), ..Fork::default() };
        let fork = place.block_on(place.runner.fork(&job, fork)).unwrap();
        assert_eq!(place.result(&fork), r#"["a\n",4]"#);
        assert_eq!(place.children(&fork).len(), 1);
        assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), runs);
    }
    place.check();
}

#[test]
fn a_fork_may_go_on_with_another_script_that_fits_its_past() {
    let place = Place::start();
    let job = place.submit("local a = sh('echo a').stdout return a .. sh('echo b').stdout");
    place.result(&job);
    let ends: Vec<u64> = place
        .events(&job)
        .iter()
        .filter(|event| event.body.name() == "step.finished")
        .map(|event| event.version)
        .collect();
    let fork = |source: &str| {
        let fork = Fork { at: ends[0], script: script(source), args: None };
        place.block_on(place.runner.fork(&job, fork)).unwrap()
    };
    let fits = fork("local a = sh('echo a').stdout return a .. sh('echo c').stdout");
    assert_eq!(place.result(&fits), r#""a\nc\n""#);
    let parts = fork("return sh('echo z').stdout");
    assert_eq!(place.ended(&parts).error.unwrap().code, "nondeterministic");
}

#[test]
fn a_copy_that_a_crash_cut_off_is_completed() {
    let place = Place::start();
    let job = place.submit("for i = 1, 20 do step('s', function() return i end) end wait_for('go') return 1");
    place.until_status(&job, JobStatus::Waiting);
    let at = place.events(&job).len() as u64;
    let fork = place.block_on(place.runner.fork(&job, Fork { at, ..Fork::default() })).unwrap();
    // Killed at any moment, with what was written then.
    let place = place.kill(0);
    place.until_status(&fork, JobStatus::Waiting);
    place.signal(&fork, "go", "1");
    assert_eq!(place.result(&fork), "1");
    assert_eq!(ended(&place, &fork).len(), 21);
    place.cancel(&job);
    place.ended(&job);
    place.check();
}

#[test]
fn a_job_that_is_not_there_cannot_be_resumed() {
    let place = Place::start();
    let mut submit = moonlog_runner::Submit::new(script("return 1").unwrap());
    submit.resume_from = Some(JobId::from_bytes([9; 16]));
    let refused = place.block_on(place.runner.submit(submit)).unwrap_err();
    assert_eq!(refused.code(), "no_such_job");
}
