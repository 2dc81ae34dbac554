//! `flow`: graphs of steps, with what is recorded of them. Every run is replayed from each of its beginnings.

use crate::world::{Say, World, error, eval, listing};
use moonlog_core::event::{StepOutcome, StepStarted};

fn answers(step: &StepStarted) -> Say {
    match (step.kind.as_str(), step.path.as_str()) {
        ("step", path) if path.starts_with("slow") => Say::Bad(StepOutcome::TimedOut, "timeout"),
        ("exec", path) if path.contains("hang") => Say::Never,
        ("approve", path) if path.contains("no") => Say::Ok(r#"{"approved":false,"by":"ann"}"#),
        ("approve", _) => Say::Ok(r#"{"approved":true}"#),
        _ => Say::Ok("1"),
    }
}

fn told(source: &str) -> (String, String) {
    let mut world = World::new(source, answers);
    let told = world.told();
    world.newest_first = true;
    assert_eq!(format!("{:?}", world.told().state), format!("{:?}", told.state), "in another order");
    assert_eq!(World::unpaired(&told.events), Vec::<String>::new());
    (listing(&told.events), format!("{:?}", told.state))
}

fn returned(source: &str) -> String {
    told(source).1
}

#[test]
fn steps_run_in_the_order_of_their_dependencies() {
    let (log, state) = told(
        "local out = flow { steps = {
            { id = 'c', deps = {'a', 'b'}, run = function(ctx) return ctx.results.a + ctx.results.b end },
            { id = 'a', run = function() exec('x') return 1 end },
            { id = 'b', run = function(ctx) return ctx.attempt + 1 end },
        } }
        return {out.results, out.status, out.attempts}",
    );
    assert_eq!(
        state,
        r#"Returned([{"a":1,"b":2,"c":3},{"a":"completed","b":"completed","c":"completed"},{"a":1,"b":1,"c":1}])"#
    );
    assert_eq!(
        log,
        "job.started\nstart step a 1\nstart exec a@1/exec 1\nstart step b 1\nend b 1 Ok\nend a@1/exec 1 Ok\nend a 1 Ok\n\
         start step c 1\nend c 1 Ok\njob.completed"
    );
}

#[test]
fn the_example_of_the_contract_goes_both_ways() {
    let source = |diff: &str| {
        format!(
            "local out = flow {{
              steps = {{
                {{ id = 'scan', run = function(ctx) exec('git') return '{diff}' end }},
                {{ id = 'review', deps = {{'scan'}}, batch = 'agents', timeout = '5m', retries = 1,
                   run = function(ctx) return 'Review:\\n' .. ctx.results.scan end }},
                {{ id = 'route', kind = 'switch', deps = {{'review'}},
                   cases = {{ {{ label = 'risky', when = function(ctx) return ctx.results.review:find('RISK') end,
                                 steps = {{'gate', 'publish'}} }} }},
                   default = {{'publish'}} }},
                {{ id = 'gate', kind = 'approval', deps = {{'route'}}, title = 'Risky change' }},
                {{ id = 'publish', deps = {{'route', 'gate'}}, trigger = 'one_success', when = function(ctx) return true end,
                   run = function(ctx) return 'done' end }},
              }},
              batches = {{ agents = {{ max_concurrent = 2, join = 'all_success' }} }},
            }}
            return {{out.status, out.chosen, out.reasons, out.results.publish}}"
        )
    };
    let (log, state) = told(&source("RISK"));
    assert_eq!(
        state,
        r#"Returned([{"gate":"completed","publish":"completed","review":"completed","route":"completed","scan":"completed"},{"route":"risky"},{},"done"])"#
    );
    assert!(log.contains("start approve gate@1/approve 1"), "{log}");
    let (log, state) = told(&source("fine"));
    assert_eq!(
        state,
        r#"Returned([{"gate":"skipped","publish":"completed","review":"completed","route":"completed","scan":"completed"},{"route":"default"},{"gate":"not_chosen"},"done"])"#
    );
    assert!(log.contains("start step gate 1\nend gate 1 Skipped"), "{log}");
}

#[test]
fn a_step_that_fails_throws_nothing_and_stops_what_needs_it() {
    let (log, state) = told(
        "local out = flow { steps = {
            { id = 'a', retries = 1, run = function(ctx) error({code = 'no', message = 'try ' .. ctx.attempt}) end },
            { id = 'b', deps = {'a'}, run = function() return 1 end },
            { id = 'c', deps = {'a'}, trigger = 'all_done', run = function() return 2 end },
        } }
        return {out.status, out.results, out.errors.a.code, tostring(out.errors.a), out.reasons, out.attempts}",
    );
    assert_eq!(
        state,
        r#"Returned([{"a":"failed","b":"skipped","c":"completed"},{"c":2},"no","try 2",{"b":"upstream_failed"},{"a":2,"b":0,"c":1}])"#
    );
    assert!(log.contains("end a 1 Error\nretry a 1 1000"), "{log}");
}

#[test]
fn a_step_out_of_time_is_cancelled_before_it_is_tried_again() {
    let (log, state) = told(
        "local out = flow { steps = {
            { id = 'slow', timeout = 1, retries = 1, run = function() exec('x', {}, {label = 'hang'}) end },
            { id = 'b', deps = {'slow'}, run = print },
            { id = 'c', deps = {'slow'}, trigger = 'all_done', run = function() return 1 end },
        } }
        return {out.status, out.attempts.slow, out.errors.slow.code}",
    );
    assert_eq!(state, r#"Returned([{"b":"skipped","c":"completed","slow":"timed_out"},2,"timeout"])"#);
    let attempts = "start step slow 1\nstart exec slow@1/hang 1\nend slow 1 TimedOut\nretry slow 1 1000\n\
                    end slow@1/hang 1 Cancelled\nstart step slow 2\nstart exec slow@2/hang 1\nend slow 2 TimedOut\n\
                    end slow@2/hang 1 Cancelled\n";
    assert!(log.contains(attempts), "{log}");
}

#[test]
fn a_condition_decides_before_the_step_begins() {
    let (log, state) = told(
        "local out = flow { steps = {
            { id = 'a', when = function() return exec('x') ~= 1 end, run = print },
            { id = 'b', when = function() error('what') end, retries = 3, run = print },
            { id = 'c', deps = {'a'}, run = print },
        } }
        return {out.status, out.reasons, tostring(out.errors.b)}",
    );
    assert_eq!(
        state,
        r#"Returned([{"a":"skipped","b":"failed","c":"skipped"},{"a":"when_false","c":"when_false"},"test:3: what"])"#
    );
    assert!(log.contains("start exec a/exec 1") && !log.contains("retry"), "{log}");
}

#[test]
fn a_failure_cancels_the_rest_of_its_batch() {
    let (log, state) = told(
        "local out = flow {
            steps = {
                { id = 'a', batch = 'b', run = function() exec('x') error('no') end },
                { id = 'b', batch = 'b', run = function() exec('x', {}, {label = 'hang'}) end },
                { id = 'c', batch = 'b', when = function() exec('x', {}, {label = 'hang'}) end, run = print },
                { id = 'd', batch = 'b', run = print },
                { id = 'e', deps = {'a', 'b', 'c', 'd'}, trigger = 'all_done', run = function() return 1 end },
            },
            batches = { b = { max_concurrent = 3, join = 'all_success' } },
        }
        return {out.status, out.results}",
    );
    assert_eq!(
        state,
        r#"Returned([{"a":"failed","b":"cancelled","c":"cancelled","d":"cancelled","e":"completed"},{"e":1}])"#
    );
    assert!(log.contains("end b@1/hang 1 Cancelled\nend b 1 Cancelled"), "{log}");
    assert!(log.contains("start step d 1\nend d 1 Cancelled"), "{log}");
}

#[test]
fn a_denied_approval_fails_with_its_code() {
    let state = returned(
        "local out = flow { steps = {
            { id = 'no', kind = 'approval' },
            { id = 'yes', kind = 'approval', title = 'Well?' },
            { id = 'after', deps = {'no'}, run = print },
        } }
        return {out.status, out.errors.no.code, out.errors.no.by, out.results.yes.approved}",
    );
    assert_eq!(state, r#"Returned([{"after":"skipped","no":"failed","yes":"completed"},"denied","ann",true])"#);
}

#[test]
fn a_batch_never_runs_more_than_it_may() {
    let (log, state) = told(
        "local steps = {}
        for i = 1, 12 do
            local batch = if i % 2 == 0 then 'b' else nil
            steps[i] = { id = batch or 'a', batch = batch, run = function() exec('x') return i end }
            steps[i].id ..= i
        end
        local out = flow { steps = steps, batches = { b = { max_concurrent = 2 } } }
        return {out.results.b12, out.status.a1}",
    );
    assert_eq!(state, r#"Returned([12,"completed"])"#);
    let (mut running, mut most) = (0, 0);
    for line in log.lines() {
        running +=
            i32::from(line.starts_with("start step b")) - i32::from(line.starts_with("end b") && !line.contains('@'));
        most = running.max(most);
    }
    assert_eq!((running, most), (0, 2), "{log}");
}

#[test]
fn what_cannot_run_is_refused_with_the_reason() {
    let cases = [
        ("flow { steps = { {id = 'a', deps = {'b'}, run = print} } }", "flow_unknown_id", "names `b` in its deps"),
        ("flow { steps = { {id = 'a', run = print}, {id = 'a', run = print} } }", "flow_duplicate_id", "the id `a`"),
        (
            "flow { steps = { {id = 'a', deps = {'c'}, run = print}, {id = 'b', deps = {'a'}, run = print}, {id = 'c', deps = {'b'}, run = print} } }",
            "flow_cycle",
            "a -> b -> c -> a",
        ),
        ("flow { steps = { {id = 'a', batch = 'b', run = print} } }", "flow_unknown_id", "no such batch"),
        ("flow { steps = { {id = 'a'} } }", "invalid_argument", "run must be a function"),
        ("flow { steps = { {id = 'a', run = print, kind = 'x'} } }", "invalid_argument", "kind is"),
        ("flow { steps = { {id = 'a', run = print, trigger = 'x'} } }", "invalid_argument", "trigger is"),
        ("flow { steps = { {id = 'a', run = print, nope = 1} } }", "invalid_argument", "unknown option `nope`"),
        (
            "flow { steps = { {id = 'a', kind = 'switch', cases = {{steps = {'a'}}}} } }",
            "invalid_argument",
            "case 1: when",
        ),
        ("flow { steps = {}, batches = { b = { max_concurrent = 0 } } }", "invalid_argument", "max_concurrent"),
        ("flow {}", "invalid_argument", "steps must be an array"),
        ("flow(1)", "invalid_argument", "a table with `steps`"),
    ];
    for (source, code, message) in cases {
        let error = error(source);
        assert_eq!(error.code, code, "{source}: {error:?}");
        assert!(error.message.contains(message), "{source}: {error:?}");
    }
}

#[test]
fn a_flow_stands_in_branches_and_in_flows() {
    let source = "local r, e = parallel { x = function()
            return flow { steps = {
                { id = 'in', run = function(ctx)
                    return flow { steps = { { id = 'deep', run = function() exec('x') return 5 end } } }.results.deep
                end },
            } }.results
        end, y = function() return flow { steps = {} }.status end }
        return {r, e}";
    let (log, state) = told(source);
    assert_eq!(state, r#"Returned([{"x":{"in":5},"y":{}},{}])"#);
    assert!(log.contains("start exec x/in@1/deep@1/exec 1"), "{log}");
}

#[test]
fn a_graph_wider_than_the_limit_of_branches_runs_all_the_same() {
    let source = "local steps = {}
        for i = 1, 2000 do steps[i] = { id = 's' .. i, run = function() return 1 end } end
        steps[2001] = { id = 'last', deps = (function() local d = {} for i = 1, 2000 do d[i] = 's' .. i end return d end)(),
            run = function(ctx) local sum = 0 for _, n in ctx.results do sum += n end return sum end }
        return flow { steps = steps }.results.last";
    let told = World::new(source, answers).run(&[]).unwrap();
    assert_eq!(format!("{:?}", told.state), "Returned(2000)");
    assert_eq!(eval("return flow { steps = { {id = 'a', run = function() return 1 end} }, limit = 1 }.results.a"), "1");
}
