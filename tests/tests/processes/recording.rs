//! What is recorded of an output: every byte up to the limit, in bounded memory.

use crate::support::*;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use moonlog_tests::{Server, Settings, from_env, resident_kib};
use serde_json::json;
use std::sync::atomic::{AtomicBool, Ordering};

#[tokio::test]
async fn every_byte_of_a_binary_stream_is_recorded() {
    let place = Place::new();
    let server = place.start().await;
    let bytes: Vec<u8> = (0..300_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 23) as u8).collect();
    std::fs::write(place.folder.path().join("bytes"), &bytes).unwrap();
    let text = "añ€😀\n".repeat(20_000);
    std::fs::write(place.folder.path().join("text"), &text).unwrap();
    let id = sh(&server, "cat bytes; cat text >&2").await;
    let shown = ended(&server, &id).await;
    assert_eq!(shown["truncated"]["original_bytes"], bytes.len() + text.len());
    let mut recorded = [Vec::new(), Vec::new()];
    for (index, event) in
        events(&server, &id).await.iter().filter(|event| event["type"] == "process.output").enumerate()
    {
        let data = &event["data"];
        assert_eq!(data["seq"], index + 1);
        let of_fd = &mut recorded[data["fd"].as_u64().unwrap() as usize - 1];
        match data["text"].as_str() {
            Some(text) => of_fd.extend_from_slice(text.as_bytes()),
            None => of_fd.extend(STANDARD.decode(data["base64"].as_str().unwrap()).unwrap()),
        }
        if data["fd"] == 2 {
            assert!(data["text"].is_string(), "no character was split");
        }
    }
    assert!(recorded[0] == bytes && recorded[1] == text.as_bytes());
}

/// A process writes 200 MB (1 GB with `MOONLOG_LONG`) past the limit: the server's memory does not grow with it, and it
/// still tells the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_much_is_written_memory_stays_flat() {
    let megabytes = if from_env("MOONLOG_LONG", 0) == 0 { 200 } else { 1_000 };
    let place = Place::new();
    let settings = Settings { config: "[limits]\nprocess_output_bytes = 16_777_216".into(), ..Settings::default() };
    let server = Server::start_with(place.folder.path(), &settings).await;
    // What a server takes that has recorded as much as is recorded at all.
    let first = sh(&server, "yes 0123456789abcdef | head -c 20000000").await;
    ended(&server, &first).await;
    let pid = server.pid();
    let before = resident_kib(pid);
    let (done, mut most) = (AtomicBool::new(false), before);
    let script = format!("yes 0123456789abcdef | head -c {megabytes}000000; echo; echo the end");
    let id = sh(&server, &script).await;
    let watch = async {
        while !done.load(Ordering::Relaxed) {
            most = most.max(resident_kib(pid));
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let wait = async {
        let shown = ended(&server, &id).await;
        done.store(true, Ordering::Relaxed);
        shown
    };
    let ((), shown) = tokio::join!(watch, wait);
    let written = megabytes * 1_000_000 + 9;
    assert_eq!(shown["truncated"]["original_bytes"], written);
    assert!(shown["output"].as_str().unwrap().ends_with("\nthe end\n"));
    assert_eq!(shown["exit_code"], json!(0));
    println!("{megabytes} MB: {before} KiB before, {most} KiB at most");
    assert!(most < before + (48 << 10), "memory grew from {before} to {most} KiB");
}
