//! How much the host itself costs, printed; run with `--ignored --nocapture`. No assertion depends on time.

use crate::world::{engine, spec};
use moonlog_core::json::Json;
use moonlog_scripts::{Input, Limits, Run, RunState};
use std::time::Instant;

#[test]
#[ignore = "prints timings"]
fn the_host_costs_little() {
    let engine = engine(Limits::default());
    let drive = |source: &str, times: u32| {
        let begun = Instant::now();
        let mut events = 0;
        for _ in 0..times {
            let (mut run, mut slice) = Run::start(&engine, spec(source, Json::null()), &[]).unwrap();
            events += slice.intents.len();
            while slice.state == RunState::More {
                slice = run.resume(Input::Continue).unwrap();
                events += slice.intents.len();
            }
            assert!(matches!(slice.state, RunState::Returned(_)), "{:?}", slice.state);
        }
        let micros = begun.elapsed().as_secs_f64() * 1e6 / f64::from(times);
        println!("{micros:10.1} us a job, {:6} events each: {source}", events / times as usize);
    };
    drive("return step('s', function() return 1 end)", 2000);
    drive("return 1", 2000);
    drive("for i = 1, 2000 do step('s', function() return i end) end", 20);
    drive("for i = 1, 100 do step('s' .. i, function() return {a = i} end) end", 200);
    drive(
        "local b = {} for i = 1, 500 do b[i] = function() step('s', function() return 1 end) end end parallel(b)",
        20,
    );
    drive("local x = 0 for i = 1, 10000000 do x += i end return x", 2);
}
