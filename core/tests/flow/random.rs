//! Random graphs, run in random orders, beside the model.

use super::{batch, flow, model::Model};
use moonlog_core::flow::{
    FlowDecision, FlowDefinition, FlowEnd, FlowScheduler, FlowStanding, FlowStatus, FlowStepDefinition, Join,
    SwitchDefinition, Trigger,
};
use proptest::{prelude::*, sample::Index};

const STEPS_MAX: usize = 24;

/// Later steps depend on earlier ones; then the order in which they are named is shuffled.
fn definitions() -> impl Strategy<Value = FlowDefinition> {
    let step = (
        prop::collection::vec(any::<Index>(), 0..4),
        0..3_u8,
        prop::option::weighted(0.5, 0..3_usize),
        prop::option::weighted(0.25, prop::collection::vec(prop::collection::vec(any::<Index>(), 0..4), 1..4)),
    );
    let steps = prop::collection::vec(step, 1..STEPS_MAX);
    let batches = prop::collection::vec((1..4_usize, any::<bool>()), 3);
    (steps, batches, 1..9_usize, any::<u64>()).prop_map(|(steps, batches, max_running, shuffle)| {
        let count = steps.len();
        let mut named: Vec<FlowStepDefinition> = steps
            .into_iter()
            .enumerate()
            .map(|(index, (deps, trigger, batch, cases))| FlowStepDefinition {
                id: format!("s{index}"),
                deps: deps.iter().filter(|_| index > 0).map(|dep| format!("s{}", dep.index(index))).collect(),
                trigger: [Trigger::AllSuccess, Trigger::OneSuccess, Trigger::AllDone][usize::from(trigger)],
                batch: batch.map(|batch| format!("b{batch}")),
                switch: cases.filter(|_| index + 1 < count).map(|cases| SwitchDefinition {
                    cases: cases
                        .iter()
                        .map(|case| {
                            let later = count - index - 1;
                            case.iter().map(|step| format!("s{}", index + 1 + step.index(later))).collect()
                        })
                        .collect(),
                }),
            })
            .collect();
        let mut random = shuffle;
        for index in (1..named.len()).rev() {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            named.swap(index, (random >> 33) as usize % (index + 1));
        }
        let batches = batches
            .into_iter()
            .enumerate()
            .map(|(index, (max, all))| {
                let join = if all { Join::AllSuccess } else { Join::AllDone };
                batch(&format!("b{index}"), max, join)
            })
            .collect();
        FlowDefinition { max_running, ..flow(named, batches) }
    })
}

/// What happens: which of those that run ends, and how.
fn happenings() -> impl Strategy<Value = Vec<(Index, u8)>> {
    prop::collection::vec((any::<Index>(), any::<u8>()), STEPS_MAX)
}

fn end_of(definition: &FlowDefinition, step: usize, chance: u8) -> FlowEnd {
    match chance % 8 {
        0 => FlowEnd::Failed,
        1 => FlowEnd::TimedOut,
        2 => FlowEnd::WhenFalse,
        n => match &definition.steps[step].switch {
            Some(switch) => FlowEnd::Chose((usize::from(n) - 3 < switch.cases.len()).then(|| usize::from(n) - 3)),
            None => FlowEnd::Completed,
        },
    }
}

/// Runs a flow to its end and gives what was decided, checking each decision against the model.
fn run(definition: &FlowDefinition, happenings: &[(Index, u8)]) -> Vec<FlowDecision> {
    let mut model = Model::new(definition);
    let mut scheduler = FlowScheduler::new(definition).unwrap();
    let (mut decisions, mut running, mut cancelled) = (Vec::new(), Vec::new(), Vec::new());
    let mut left = happenings.iter().cycle();
    loop {
        while let Some(decision) = scheduler.next_decision() {
            decisions.push(decision);
            match decision {
                FlowDecision::Start(step) => {
                    assert!(model.may_start(step), "step {step} may not start");
                    for dep in model.deps(step) {
                        assert!(model.status[dep].is_ended(), "step {step} starts before {dep} has ended");
                    }
                    model.started(step);
                    running.push(step);
                    assert!(running.len() <= definition.max_running);
                    for batch in &definition.batches {
                        let of = |step: &&usize| definition.steps[**step].batch.as_ref() == Some(&batch.name);
                        assert!(running.iter().filter(of).count() <= batch.max_concurrent, "{batch:?}");
                    }
                }
                FlowDecision::Skip(step, reason) => {
                    assert_eq!(model.status[step], FlowStatus::Skipped(reason), "step {step}");
                }
                FlowDecision::Drop(step) => assert_eq!(model.status[step], FlowStatus::Cancelled, "step {step}"),
                FlowDecision::Cancel(step) => {
                    assert!(model.is_broken(step) && running.contains(&step), "step {step}");
                    cancelled.push(step);
                }
            }
        }
        // Nothing that could start is left where there is room.
        for step in 0..definition.steps.len() {
            let of = |other: &&usize| definition.steps[**other].batch == definition.steps[step].batch;
            let batch = definition.steps[step].batch.as_ref();
            let max = batch.map(|name| definition.batches.iter().find(|b| b.name == *name).unwrap().max_concurrent);
            let room =
                running.len() < definition.max_running && max.is_none_or(|max| running.iter().filter(of).count() < max);
            assert!(!room || !model.may_start(step), "step {step} could start");
            assert_eq!(scheduler.status(step), model.status[step], "step {step}");
        }
        if running.is_empty() {
            break;
        }
        let (which, how) = left.next().unwrap();
        let step = running.swap_remove(which.index(running.len()));
        let end = match cancelled.contains(&step) && how % 2 == 0 {
            true => FlowEnd::Cancelled,
            false => end_of(definition, step, *how),
        };
        assert!(scheduler.ended(step, end), "step {step} ran");
        assert!(!scheduler.ended(step, end), "step {step} ended twice");
        model.ended(step, end);
    }
    assert_eq!(scheduler.standing(), FlowStanding::Complete);
    decisions
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn a_flow_does_what_the_rules_say(definition in definitions(), happenings in happenings()) {
        let decisions = run(&definition, &happenings);
        // Each step is decided on once: it starts, is skipped, or is dropped.
        let mut seen = vec![0; definition.steps.len()];
        for decision in &decisions {
            match decision {
                FlowDecision::Start(step) | FlowDecision::Skip(step, _) | FlowDecision::Drop(step) => seen[*step] += 1,
                FlowDecision::Cancel(_) => {}
            }
        }
        prop_assert!(seen.iter().all(|times| *times == 1), "{seen:?}");
        prop_assert_eq!(decisions, run(&definition, &happenings), "the same log gives the same decisions");
    }

    #[test]
    fn a_cycle_is_told_with_steps_that_wait_for_each_other(
        definition in definitions(),
        from in any::<Index>(),
        to in any::<Index>(),
    ) {
        let mut definition = definition;
        let (from, to) = (from.index(definition.steps.len()), to.index(definition.steps.len()));
        let id = definition.steps[to].id.clone();
        definition.steps[from].deps.push(id);
        match FlowScheduler::new(&definition) {
            Ok(mut scheduler) => prop_assert!(scheduler.next_decision().is_some()),
            Err(moonlog_core::flow::FlowRefusal::Cycle { path }) => {
                prop_assert!(path.len() >= 2 && path.first() == path.last(), "{path:?}");
                let model = Model::new(&definition);
                for pair in path.windows(2) {
                    let (before, after) = (model.index(&pair[0]), model.index(&pair[1]));
                    prop_assert!(model.deps(after).contains(&before), "{path:?}");
                }
            }
            Err(other) => prop_assert!(false, "{other}"),
        }
    }
}
