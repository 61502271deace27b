//! Tests of valid and invalid command-line options of `pipe`.

use std::collections::HashMap;

use super::Pipe;
use super::server::{EntryOutcome, Server};
use crate::support::embedded;

#[test]
fn default_stream_is_read_back() {
    let exit = Pipe::embedded(&[]).run("one\ntwo\ntwo\n");
    exit.expect(0, &["3 records delivered in 1 requests", "3 records read back"]);
    let exit = Pipe::embedded(&["--quiet"]).run("one\n").expect(0, &[]);
    assert_eq!(exit.stderr, "");
}

#[test]
fn throttled_entries_are_retried_and_counted() {
    let server = Server::start({
        let seen = std::sync::Mutex::new(HashMap::<String, u32>::new());
        move |entry| {
            let mut seen = seen.lock().unwrap();
            let times = seen.entry(String::from_utf8(entry.data.clone()).unwrap()).or_default();
            *times += 1;
            if *times == 1 {
                EntryOutcome::Failed("ProvisionedThroughputExceededException")
            } else {
                EntryOutcome::Delivered
            }
        }
    });
    let exit = Pipe::to(&server.endpoint, &[]).run("one\ntwo\n");
    exit.expect(0, &["2 records delivered", "2 entries throttled"]);
}

#[test]
fn aggregation_delivers_all_records() {
    let lines: String =
        (0..2_000).map(|number| format!("{}\tline {number}\n", number % 50)).collect();
    for aggregation in ["per-key", "per-shard"] {
        let options = ["--aggregation", aggregation, "--ordering", "per-key", "--key-field", "1"];
        // `read back` counts the members of aggregates.
        let exit = Pipe::embedded(&options).run(&lines);
        exit.expect(0, &["2000 records delivered", "2000 records read back"]);
    }
    let server = Server::accepting_all();
    let exit = Pipe::to(&server.endpoint, &["--aggregation", "per-key"]).run(&lines);
    let exit = exit.expect(0, &["2000 records delivered in "]);
    let requests =
        exit.stderr.split("delivered in ").nth(1).and_then(|text| text.split(' ').next());
    let requests: usize = requests.unwrap().parse().unwrap();
    // Without aggregation, 2,000 records need four requests.
    assert!(requests < 4, "{}", exit.stderr);
}

#[test]
fn retries_keep_order_per_key() {
    let server = Server::start({
        let calls = std::sync::atomic::AtomicU32::new(0);
        move |_| match calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % 5 {
            2 => EntryOutcome::Failed("InternalFailure"),
            _ => EntryOutcome::Delivered,
        }
    });
    let lines: String = (0..60).map(|number| format!("{}\t{number:03}\n", number % 3)).collect();
    let options = ["--ordering", "per-key", "--key-field", "1"];
    Pipe::to(&server.endpoint, &options).run(&lines).expect(0, &["60 records delivered"]);
    for key in ["0", "1", "2"] {
        let records = server.delivered_with_keys().into_iter();
        let data: Vec<_> = records.filter(|(of, _)| of == key).map(|(_, data)| data).collect();
        assert!(data.len() == 20 && data.is_sorted(), "{data:?}");
    }
}

#[test]
fn cbor_records_are_read_back() {
    for aggregation in ["off", "per-shard"] {
        let exit = Pipe::embedded(&["--cbor", "--aggregation", aggregation]).run(b"one\n\xff\n");
        exit.expect(0, &["2 records read back"]);
    }
}

#[test]
fn invalid_options_report_fix() {
    let wrong = |options: &[&str], message: &str| {
        Pipe::embedded(options).run("").expect(2, &[message]);
    };
    wrong(&["--key-pointer", "/a"], "--key-pointer needs --format ndjson");
    wrong(&["--key-pointer", "a", "--format", "ndjson"], "must start with /");
    wrong(&["--key-pointer", "/a~2", "--format", "ndjson"], "write ~0 for ~");
    wrong(&["--key-field", "1", "--format", "ndjson"], "--key-field needs --format lines");
    wrong(&["--key-field", "0"], "0 is not in 1..");
    wrong(&["--delimiter", ","], "--key-field");
    wrong(&["--keep-newline", "--format", "length-prefixed"], "have no line break");
    wrong(&["--keep-newline", "--format", "dead-letters"], "have no line break");
    wrong(&["--key-field", "1", "--format", "dead-letters"], "--key-field needs --format lines");
    wrong(&["--ordering", "per-key"], "give --key-pointer or --key-field");
    wrong(&["--throttled", "--stream", "x"], "cannot be used with");
}

#[test]
fn unusable_stream_reports_error() {
    let arguments = ["--stream", "not there"];
    Pipe::to("http://127.0.0.1:1", &arguments).run("").expect(1, &["error: "]);
    Pipe::to("http://127.0.0.1:1", &[]).run("").expect(1, &["the endpoint cannot be reached"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn max_record_size_matches_stream() {
    let server = embedded::Embedded::start(1, false).await.unwrap();
    assert!(server.client().config().region().is_some());
    let endpoint = server.endpoint().to_owned();
    let run = move || {
        let line = "x".repeat(1024 * 1024 - 8);
        Pipe::to(&endpoint, &[]).run(&line).expect(0, &["1 records delivered"]);
        Pipe::to(&endpoint, &[]).run(line + "x").expect(3, &["split it to at most 1048576"])
    };
    tokio::task::spawn_blocking(run).await.unwrap();
}
