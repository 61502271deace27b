//! The options of the sink, and what is wrong with options.

use std::collections::HashMap;

use super::Pipe;
use super::server::{Fate, Server};
use crate::support::embedded;

#[test]
fn default_stream_is_read_back() {
    let ended = Pipe::embedded(&[]).fed("one\ntwo\ntwo\n");
    ended.expect(0, &["3 records delivered in 1 requests", "3 records read back"]);
    let ended = Pipe::embedded(&["--quiet"]).fed("one\n").expect(0, &[]);
    assert_eq!(ended.said, "");
}

#[test]
fn throttled_entries_are_retried_and_counted() {
    let server = Server::start({
        let seen = std::sync::Mutex::new(HashMap::<String, u32>::new());
        move |entry| {
            let mut seen = seen.lock().unwrap();
            let times = seen.entry(String::from_utf8(entry.data.clone()).unwrap()).or_default();
            *times += 1;
            match *times {
                1 => Fate::Fails("ProvisionedThroughputExceededException"),
                _ => Fate::Taken,
            }
        }
    });
    let ended = Pipe::to(&server.endpoint, &[]).fed("one\ntwo\n");
    ended.expect(0, &["2 records delivered", "2 entries throttled"]);
}

#[test]
fn aggregation_delivers_all_records() {
    let lines: String =
        (0..2_000).map(|number| format!("{}\tline {number}\n", number % 50)).collect();
    for aggregation in ["per-key", "per-shard"] {
        let options = ["--aggregation", aggregation, "--ordering", "per-key", "--key-field", "1"];
        // Read back, with its aggregates taken apart.
        let ended = Pipe::embedded(&options).fed(&lines);
        ended.expect(0, &["2000 records delivered", "2000 records read back"]);
    }
    let server = Server::that_takes_all();
    let ended = Pipe::to(&server.endpoint, &["--aggregation", "per-key"]).fed(&lines);
    ended.expect(0, &["2000 records delivered in 1 requests"]);
}

#[test]
fn ordering_survives_failures() {
    let server = Server::start({
        let calls = std::sync::atomic::AtomicU32::new(0);
        move |_| match calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % 5 {
            2 => Fate::Fails("InternalFailure"),
            _ => Fate::Taken,
        }
    });
    let lines: String = (0..60).map(|number| format!("{}\t{number:03}\n", number % 3)).collect();
    let options = ["--ordering", "per-key", "--key-field", "1"];
    Pipe::to(&server.endpoint, &options).fed(&lines).expect(0, &["60 records delivered"]);
    for key in ["0", "1", "2"] {
        let of_key = server.with_keys().into_iter().filter(|(of, _)| of == key);
        let data: Vec<_> = of_key.map(|(_, data)| data).collect();
        assert!(data.len() == 20 && data.is_sorted(), "{data:?}");
    }
}

#[test]
fn cbor_records_are_read_back() {
    for aggregation in ["off", "per-shard"] {
        let ended = Pipe::embedded(&["--cbor", "--aggregation", aggregation]).fed(b"one\n\xff\n");
        ended.expect(0, &["2 records read back"]);
    }
}

#[test]
fn invalid_options_report_fix() {
    let wrong = |options: &[&str], said: &str| {
        Pipe::embedded(options).fed("").expect(2, &[said]);
    };
    wrong(&["--key-pointer", "/a"], "--key-pointer needs --format ndjson");
    wrong(&["--key-pointer", "a", "--format", "ndjson"], "must start with /");
    wrong(&["--key-pointer", "/a~2", "--format", "ndjson"], "write ~0 for ~");
    wrong(&["--key-field", "1", "--format", "ndjson"], "--key-field needs --format lines");
    wrong(&["--key-field", "0"], "0 is not in 1..");
    wrong(&["--delimiter", ","], "--key-field");
    wrong(&["--keep-newline", "--format", "length-prefixed"], "frames have no line break");
    wrong(&["--ordering", "per-key"], "give --key-pointer or --key-field");
    wrong(&["--throttled", "--stream", "x"], "cannot be used with");
}

#[test]
fn unusable_stream_reports_error() {
    let arguments = ["--stream", "not there"];
    Pipe::to("http://127.0.0.1:1", &arguments).fed("").expect(1, &["error: "]);
    Pipe::to("http://127.0.0.1:1", &[]).fed("").expect(1, &["the endpoint cannot be reached"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn max_record_size_matches_stream() {
    let server = embedded::Embedded::start(1, false).await.unwrap();
    assert!(server.client().config().region().is_some());
    let endpoint = server.endpoint().to_owned();
    let fed = move || {
        let line = "x".repeat(1024 * 1024 - 8);
        Pipe::to(&endpoint, &[]).fed(&line).expect(0, &["1 records delivered"]);
        Pipe::to(&endpoint, &[]).fed(line + "x").expect(3, &["split it to at most 1048576"])
    };
    tokio::task::spawn_blocking(fed).await.unwrap();
}
