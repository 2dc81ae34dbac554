#![no_main]

#[path = "../../tests/fuzz/decoders.rs"]
#[allow(dead_code)]
mod decoders;

libfuzzer_sys::fuzz_target!(|data: &[u8]| decoders::record(data));
