//! The log against a model of it: a plain list of events.

use super::*;
use crate::storage::Fault;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Append {
        stream: u8,
        expected: Expected,
        events: u8,
        large: bool,
        ends: bool,
    },
    Durable,
    /// Close and open again.
    Restart,
    /// Lose power with this many of the unsynced writes kept.
    PowerCut(usize),
    /// Let a write fail after this many, then lose power.
    Failure(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let expected = prop_oneof![
        4 => Just(Expected::Any),
        1 => Just(Expected::NoStream),
        1 => Just(Expected::Open),
        2 => (0..6u64).prop_map(Expected::Version),
    ];
    prop_oneof![
        12 => (0..5u8, expected, 1..5u8, prop::bool::weighted(0.05), prop::bool::weighted(0.05))
            .prop_map(|(stream, expected, events, large, ends)| Step::Append { stream, expected, events, large, ends }),
        3 => Just(Step::Durable),
        1 => Just(Step::Restart),
        1 => (0..5usize).prop_map(Step::PowerCut),
        1 => (0..5u64).prop_map(Step::Failure),
    ]
}

/// What the log should hold: stream, text, whether it ends the stream.
#[derive(Default, Clone)]
struct Model(Vec<(u8, String, bool)>);

impl Model {
    fn head(&self, stream: u8) -> (u64, bool) {
        let of: Vec<_> = self.0.iter().filter(|(of, ..)| *of == stream).collect();
        (of.len() as u64, of.last().is_some_and(|(.., ends)| *ends))
    }

    fn takes(&self, stream: u8, expected: Expected) -> bool {
        let (version, closed) = self.head(stream);
        !closed
            && match expected {
                Expected::Any => true,
                Expected::NoStream | Expected::Fresh => version == 0,
                Expected::Open => version > 0,
                Expected::Version(expected) => version == expected,
            }
    }

    fn check(&self, log: &Log) {
        assert_eq!(log.head(), self.0.len() as u64);
        let texts: Vec<&str> = self.0.iter().map(|(_, text, _)| text.as_str()).collect();
        assert_eq!(messages(&log.read(0, 9999).unwrap()), texts);
        let mut back = log.read_back(u64::MAX, 9999).unwrap();
        back.reverse();
        assert_eq!(messages(&back), texts);
        for stream in 0..5 {
            let of = self.0.iter().filter(|(of, ..)| *of == stream);
            let texts: Vec<&str> = of.map(|(_, text, _)| text.as_str()).collect();
            let events = log.read_stream(&job(stream), 0, 9999).unwrap();
            assert_eq!(messages(&events), texts);
            assert!(events.iter().zip(1..).all(|(event, version)| event.version == version));
            let head = log.stream_head(&job(stream)).unwrap();
            assert_eq!(head.map_or((0, false), |head| (head.version, head.closed)), self.head(stream));
        }
        let report = log.verify().unwrap();
        assert!(report.is_sound(), "{report:?}");
    }
}

fn run(steps: Vec<Step>, options: impl Fn() -> LogOptions) {
    let mut storage = Arc::new(MemoryStorage::new());
    let mut log = open(&storage, options()).0;
    let mut model = Model::default();
    let mut acknowledged = 0;
    for (n, step) in steps.into_iter().enumerate() {
        match step {
            Step::Append { stream, expected, events, large, ends } => {
                let text = |i: u8| format!("{n}.{i}{}", if large { "x".repeat(40_000) } else { String::new() });
                let mut new: Vec<(u8, String, bool)> = (0..events).map(|i| (stream, text(i), false)).collect();
                if ends {
                    new.push((stream, "job.cancelled".into(), true));
                }
                let events =
                    new.iter().map(|(_, text, ends)| if *ends { ended() } else { said(text.as_str()) }).collect();
                let answer = log.append(Append::new(job(stream), expected, events));
                assert_eq!(answer.is_ok(), model.takes(stream, expected), "{answer:?}");
                if let Ok(appended) = answer {
                    model.0.extend(new);
                    assert_eq!(appended.last_position, model.0.len() as u64);
                }
            }
            Step::Durable => {
                acknowledged = model.0.len();
                log.durable_blocking(acknowledged as u64).unwrap();
                model.check(&log);
            }
            Step::Restart => {
                log.close();
                log = open(&storage, options()).0;
                acknowledged = model.0.len();
                model.check(&log);
            }
            Step::PowerCut(_) | Step::Failure(_) => {
                let kept = if let Step::PowerCut(kept) = step { kept } else { usize::MAX };
                if let Step::Failure(after) = step {
                    storage.inject(Fault::Write, after);
                    // Whether it fails or not: the writer is done with it.
                    let _ = log.durable_blocking(model.0.len() as u64);
                }
                storage = Arc::new(storage.after_power_cut(kept));
                log = open(&storage, options()).0;
                assert!(log.head() as usize >= acknowledged);
                model.0.truncate(log.head() as usize);
                acknowledged = model.0.len();
                model.check(&log);
            }
        }
    }
    log.durable_blocking(model.0.len() as u64).unwrap();
    model.check(&log);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_log_is_a_list(steps in prop::collection::vec(step(), 1..60)) {
        run(steps, options);
    }

    #[test]
    fn the_log_is_a_list_also_when_memory_is_scarce(steps in prop::collection::vec(step(), 1..60)) {
        run(steps, cramped);
    }
}
