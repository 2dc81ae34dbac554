//! Arbitrary bytes against all that reads bytes which were stored or received. The same functions are targets of
//! cargo-fuzz in `tests/fuzz`, whose seeds are tried here first: what was once found stays found.
//!
//! `FUZZ_CASES` chooses how many cases each decoder gets.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod decoders;
mod examples;
mod requests;

use decoders::{DECODERS, Decoder};
use moonlog_core::event::EventBody;
use moonlog_tests::from_env;
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use std::path::Path;

/// Cases of each decoder that costs nothing; those that open a log or run a script get fewer.
const CASES: u32 = 2_000;

fn seeds(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(name);
    let mut paths: Vec<_> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{name} has no seeds");
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// Bytes of any kind, and seeds with some of their bytes changed, cut out, doubled or put in.
fn inputs(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), 0..5_u8, any::<u8>(), 0..12_usize);
    let mutated =
        (prop::sample::select(seeds), prop::collection::vec(change, 1..6)).prop_map(|(mut bytes, changes)| {
            for (at, kind, byte, count) in changes {
                let at = at.index(bytes.len() + 1);
                let end = (at + count).min(bytes.len());
                match kind {
                    0 if at < bytes.len() => bytes[at] = byte,
                    1 if at < bytes.len() => bytes[at] ^= 1 << (byte % 8),
                    2 => drop(bytes.drain(at..end)),
                    3 => {
                        let doubled = bytes[at..end].to_vec();
                        bytes.splice(at..at, doubled);
                    }
                    _ => bytes.insert(at, byte),
                }
            }
            bytes
        });
    prop_oneof![1 => prop::collection::vec(any::<u8>(), 0..200), 3 => mutated]
}

/// The golden bytes of every type of event, with the code and schema that they stand under.
fn stored() -> Vec<Vec<u8>> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../core/src/log/tests/snapshots/moonlog_core__log__tests__stored_form__bodies.snap");
    let text = std::fs::read_to_string(golden).unwrap();
    let mut found: Vec<(u16, Vec<u8>)> = Vec::new();
    for line in text.splitn(3, "---").last().unwrap().lines() {
        match line.split_once(' ').and_then(|(code, name)| Some((code.parse().ok()?, name))) {
            Some((code, name)) if name.contains('.') => found.push((code, Vec::new())),
            _ => {
                let digits: Vec<char> = line.chars().filter(char::is_ascii_hexdigit).collect();
                let bytes =
                    digits.chunks(2).map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap());
                if let Some((_, fields)) = found.last_mut() {
                    fields.extend(bytes);
                }
            }
        }
    }
    let under = |(code, fields): (u16, Vec<u8>)| {
        let schema = (0..=u8::MAX).rev().find(|schema| EventBody::decode(code, *schema, &fields).is_ok());
        let schema = schema.unwrap_or_else(|| panic!("the golden bytes of {code} are read"));
        [&code.to_le_bytes()[..], &[schema], &fields].concat()
    };
    found.into_iter().map(under).collect()
}

/// The same as JSON, under the numbers of their types.
fn shown() -> Vec<Vec<u8>> {
    let show = |seed: Vec<u8>| {
        let code = u16::from_le_bytes([seed[0], seed[1]]);
        let body = EventBody::decode(code, seed[2], &seed[3..]).unwrap();
        let which = EventBody::NAMES.iter().position(|name| *name == body.name()).unwrap();
        [&[which as u8][..], body.data_json().as_bytes()].concat()
    };
    stored().into_iter().map(show).collect()
}

/// Seeds that follow from the stored form of every type of event.
fn made(name: &str) -> Vec<Vec<u8>> {
    match name {
        "event_bytes" => stored(),
        "event_json" => shown(),
        _ => examples::examples(name, &stored()),
    }
}

fn hold(name: &str, decoder: Decoder, cases: u32) {
    let seeds = [seeds(name), made(name)].concat();
    for seed in &seeds {
        decoder(seed);
    }
    let cases = from_env("FUZZ_CASES", u64::from(cases)) as u32;
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 500, ..Config::default() };
    let tested = TestRunner::new(config).run(&inputs(seeds), |bytes| {
        decoder(&bytes);
        Ok(())
    });
    // As a seed it is tried from then on.
    tested.unwrap_or_else(|error| panic!("{name}: {error}"));
}

#[test]
fn stored_events_are_read_or_refused() {
    hold("event_bytes", decoders::event_bytes, 4 * CASES);
    hold("event_json", decoders::event_json, 4 * CASES);
}

#[test]
fn each_stored_form_is_read_or_refused_by_itself() {
    hold("record", decoders::record, 4 * CASES);
    hold("frame", decoders::frame, CASES);
    hold("index_page", decoders::index_page, CASES);
    hold("snapshot_row", decoders::snapshot_row, CASES);
}

#[test]
fn whatever_a_log_is_damaged_with_it_is_opened_or_refused() {
    hold("stored_log", decoders::stored_log, CASES / 4);
    hold("backup", decoders::backup, CASES / 4);
}

#[test]
fn bundles_patterns_and_configurations_are_read_or_refused() {
    hold("bundle", decoders::bundle, CASES);
    hold("bundle_packed", decoders::bundle_packed, CASES);
    hold("cron", decoders::cron, CASES / 4);
    hold("config", decoders::config, CASES);
    hold("diff", decoders::diff, 4 * CASES);
    hold("rule", decoders::rule, CASES);
}

#[test]
fn streams_of_others_are_read_to_their_end_or_refused() {
    hold("client_stream", decoders::client_stream, CASES);
    hold("host_request", decoders::host_request, CASES);
    hold("model_stream", decoders::model_stream, CASES / 8);
}

#[test]
fn whatever_is_sent_is_answered_and_whatever_tools_are_asked_ends() {
    hold("http", decoders::http, CASES / 8);
    hold("tools", decoders::tools, CASES / 2);
}

#[test]
fn values_cross_the_border_of_scripts_unchanged_or_not_at_all() {
    hold("border_json", decoders::border_json, CASES / 2);
    hold("border_luau", decoders::border_luau, CASES / 2);
    hold("script", decoders::script, CASES / 4);
}

/// For cargo-fuzz, which begins with files: `MOONLOG_TEST_SEEDS=/tmp/seeds cargo test -p moonlog-tests --test fuzz -- --ignored`
#[test]
#[ignore = "writes files that are asked for"]
fn seeds_are_written() {
    let Some(folder) = std::env::var_os("MOONLOG_TEST_SEEDS") else { return };
    for (name, _) in DECODERS {
        let folder = Path::new(&folder).join(name);
        std::fs::create_dir_all(&folder).unwrap();
        for (n, seed) in [seeds(name), made(name)].concat().into_iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{n}")), seed).unwrap();
        }
    }
}

#[test]
fn every_decoder_has_a_target_and_seeds() {
    assert!(EventBody::NAMES.len() < 256 && stored().len() > 50);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    for (name, _) in DECODERS {
        let target = std::fs::read_to_string(folder.join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(
            target.contains(&format!("decoders::{name}")) && manifest.contains(&format!("name = \"{name}\"")),
            "{name}"
        );
        assert!(!seeds(name).is_empty());
    }
}
