//! Over HTTP to a Kinesis server in this process: what was sent is there, also when shards are
//! throttled.
#![cfg(feature = "aws-config")]

use std::collections::HashSet;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt, StreamExt, future, stream};
use kinesis_sink::limits::Limits;
use kinesis_sink::service::PutRecords;
use kinesis_sink::timeout::TimeoutLayer;
use kinesis_sink::{KinesisSink, Producer, Record};
use tower::ServiceBuilder;

use crate::support::embedded::{Embedded, STREAM};
use crate::support::example_program;
use crate::support::read_back::{Found, From, ReadBack};

/// Payloads of all bytes and of sizes up to about `longest`, each a different one.
fn payloads(count: usize, longest: usize, seed: u64) -> Vec<Bytes> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut payload = |number: usize| {
        let mut data = number.to_be_bytes().to_vec();
        data.extend(std::iter::repeat_with(|| rng.u8(..)).take(number % longest));
        Bytes::from(data)
    };
    (0..count).map(&mut payload).collect()
}

async fn send_and_read_back(server: &Embedded, payloads: Vec<Bytes>) -> (KinesisSink, Found) {
    let mut read_back = ReadBack::begin(server.client(), STREAM, From::Start).await.unwrap();
    payloads.iter().for_each(|payload| read_back.expect(payload.clone()));
    let mut sink = KinesisSink::new(server.client(), STREAM).unwrap();
    let records = stream::iter(payloads).map(Record::from).map(Ok);
    tokio::time::timeout(Duration::from_secs(120), records.forward(&mut sink))
        .await
        .expect("it ends in time")
        .unwrap();
    (sink, read_back.finish().await.unwrap())
}

#[tokio::test]
async fn records_round_trip_unchanged() {
    let server = Embedded::start(4, false).await.unwrap();
    let (sink, found) = send_and_read_back(&server, payloads(5_000, 2_000, 1)).await;
    assert_eq!(found, Found { records: 5_000, missing: 0, duplicated: 0 });
    assert_eq!((sink.totals().delivered, sink.totals().requeued), (5_000, 0));
}

#[tokio::test]
async fn throttling_loses_no_record() {
    let server = Embedded::start(1, true).await.unwrap();
    // A shard takes 1,000 records a second, and small ones come faster on any machine.
    let (sink, found) = send_and_read_back(&server, payloads(4_000, 20, 2)).await;
    assert_eq!(found, Found { records: 4_000, missing: 0, duplicated: 0 });
    assert!(sink.totals().throttled > 0, "partial failures happened");
    assert_eq!((sink.totals().delivered, sink.status().failed.records), (4_000, 0));
}

#[tokio::test]
async fn server_accepts_keys_hash_keys_and_arn() {
    let server = Embedded::start(2, false).await.unwrap();
    let arn = format!("arn:aws:kinesis:us-east-1:000000000000:stream/{STREAM}");
    let service = ServiceBuilder::new()
        .layer(TimeoutLayer::new(Duration::from_secs(10)))
        .service(PutRecords::new(server.client()));
    let mut sink = KinesisSink::builder(&arn).build_with(service).unwrap();
    for key in ["k", "ключ", "🦀🦀🦀"] {
        sink.feed(Record::from((key, "data"))).await.unwrap();
        sink.feed(Record::from(("k", "data")).with_explicit_hash_key(u128::MAX)).await.unwrap();
    }
    sink.flush().await.unwrap();
    assert_eq!(sink.totals().delivered, 6);
}

/// Runs the main job's own program, which a plain `cargo test` builds beside this one.
fn forward(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    forward_with_input(arguments, environment, Stdio::null())
}

fn forward_with_input(
    arguments: &[&str],
    environment: &[(&str, &str)],
    input: impl Into<Stdio>,
) -> Output {
    let mut command = example_program::example("forward");
    command.args(arguments).stdin(input);
    command.envs(environment.iter().copied()).output().expect("the example is built")
}

#[test]
fn forward_reads_back_every_record() {
    let output = forward(&["--records", "3000"], &[]);
    let said = String::from_utf8(output.stdout).unwrap();
    let last = said.lines().last().unwrap();
    assert!(output.status.success(), "{said}");
    assert!(last.starts_with("forwarded 3000 records in "), "{last}");
    assert!(last.contains("0 failed; read back 3000, 0 missing, 0 duplicated; "), "{last}");
    assert!(last.ends_with(" of 4000 records/s"), "{last}");
}

/// The server counts in windows of a second. By the clock, so the better of two runs counts.
#[test]
#[ignore = "20 s, alone: cargo test --test servers -- --ignored --test-threads=1 forward_uses_full_rate"]
fn forward_uses_full_rate_when_throttled() {
    let rate = || {
        let output = forward(&["--throttled", "--records", "40000"], &[]);
        let said = String::from_utf8(output.stdout).unwrap();
        let last = said.lines().last().unwrap();
        assert!(last.contains(" 0 missing, 0 duplicated; "), "{last}");
        let rate = last.rsplit("; ").next().and_then(|rate| rate.split(' ').next());
        rate.unwrap().parse::<f64>().unwrap()
    };
    let rates = [rate(), rate()];
    assert!(rates.iter().any(|rate| *rate >= 3_600.0), "{rates:?}");
    assert!(rates.iter().all(|rate| *rate <= 5_000.0), "{rates:?}");
}

#[test]
fn forward_sends_lines_of_file_unchanged() {
    let path = std::env::temp_dir().join(format!("kinesis-sink-test-{}", std::process::id()));
    std::fs::write(&path, b"one\n\xff\x00\r\n\nsame\nsame\nno line break at the end").unwrap();
    let by_path = forward(&["--file", path.to_str().unwrap()], &[]);
    let input = std::fs::File::open(&path).unwrap();
    let by_standard_input = forward_with_input(&["--file", "-"], &[], input);
    std::fs::remove_file(&path).unwrap();
    for output in [by_path, by_standard_input] {
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{said}");
        assert!(said.contains("read back 6, 0 missing, 0 duplicated"), "{said}");
    }
}

/// As to a real stream: by endpoint, name and credentials of the environment.
#[tokio::test(flavor = "multi_thread")]
async fn forward_reads_back_from_endpoint() {
    let server = Embedded::start(2, false).await.unwrap();
    let mut sink = KinesisSink::new(server.client(), STREAM).unwrap();
    sink.send(Record::from("older, and not looked at")).await.unwrap();
    let arguments = ["--endpoint", server.endpoint(), "--region", "us-east-1", "--records", "700"];
    let keys = [("AWS_ACCESS_KEY_ID", "x"), ("AWS_SECRET_ACCESS_KEY", "y")];
    let output = forward(&[&arguments[..], &["--read-back"]].concat(), &keys);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("read back 700, 0 missing, 0 duplicated"), "{said}");
    let missing = [&arguments[..4], &["--stream", "no-such-stream"]].concat();
    let output = forward(&missing, &keys);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("does not exist"), "{said}");
}

#[tokio::test]
async fn read_back_counts_missing_and_duplicated() {
    let server = Embedded::start(2, false).await.unwrap();
    let mut read_back = ReadBack::begin(server.client(), STREAM, From::Start).await.unwrap();
    let mut sink = KinesisSink::new(server.client(), STREAM).unwrap();
    for data in ["sent", "twice", "twice", "not expected"] {
        sink.feed(Record::from(data)).await.unwrap();
    }
    sink.close().await.unwrap();
    for data in ["sent", "twice", "never sent"] {
        read_back.expect(Bytes::from(data));
    }
    let found = read_back.finish().await.unwrap();
    assert_eq!(found, Found { records: 2, missing: 1, duplicated: 1 });
}

#[test]
fn forward_stops_at_oversize_line() {
    let path = std::env::temp_dir().join(format!("kinesis-sink-long-{}", std::process::id()));
    let long = "x".repeat(1_100_000);
    std::fs::write(&path, format!("one\n{long}\nthree\n")).unwrap();
    let output = forward(&["--file", path.to_str().unwrap()], &[]);
    std::fs::remove_file(&path).unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("stopped at line 2; 1 records delivered, 0 kept"), "{said}");
    assert!(said.contains("record is 11000"), "{said}");
}

#[test]
fn forward_reports_error_in_one_line() {
    let keys = [("AWS_ACCESS_KEY_ID", "x"), ("AWS_SECRET_ACCESS_KEY", "y")];
    let nowhere = ["--region", "us-east-1", "--endpoint", "http://127.0.0.1:1"];
    for (arguments, environment, expected) in [
        (&["--file", "/no/such/file"][..], &[][..], "cannot read /no/such/file"),
        (&["--stream", "arn:aws:kinesis:x"], &keys, "is not a stream ARN"),
        (&["--stream", "a b"], &keys, "is not a stream name"),
        (&["--stream", "example"], &keys, "no region is configured"),
        (&["--stream", "example", "--region", "us-east-1"], &[], "no AWS credentials found"),
        (&nowhere, &keys, "the endpoint cannot be reached"),
    ] {
        let output = forward(arguments, environment);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.starts_with("error: ") && said.contains(expected), "{arguments:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{arguments:?}: {said}");
    }
}

/// A process of its own, so that it can have an environment of its own.
#[tokio::test(flavor = "multi_thread")]
async fn from_env_reads_environment() {
    let server = Embedded::start(1, false).await.unwrap();
    let mut read_back = ReadBack::begin(server.client(), STREAM, From::Start).await.unwrap();
    read_back.expect(Bytes::from_static(b"from the environment"));
    let run = |region: &str, endpoint: &str| {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "embedded::from_env_child_process", "--ignored"])
            .env_clear()
            .env("AWS_REGION", region)
            .env("AWS_ENDPOINT_URL", endpoint)
            .env("AWS_ACCESS_KEY_ID", "local")
            .env("AWS_SECRET_ACCESS_KEY", "local")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_CONFIG_FILE", "/dev/null")
            .output()
            .unwrap()
    };
    let output = run("us-east-1", server.endpoint());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(read_back.finish().await.unwrap().records, 1);
    let output = run("", server.endpoint());
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!output.status.success() && said.contains("no region is configured"), "{said}");
    // What the README's first program says on a closed port.
    let output = run("us-east-1", "http://127.0.0.1:1");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!output.status.success() && said.contains("refused the connection"), "{said}");
}

#[tokio::test]
#[ignore = "runs as a process of its own, with an environment made by the test above"]
async fn from_env_child_process() {
    let endpoint = std::env::var("AWS_ENDPOINT_URL").unwrap_or_default();
    if !endpoint.starts_with("http://127.0.0.1:") {
        return; // Started by hand: it must not write to an account.
    }
    let mut sink = KinesisSink::from_env(STREAM).await.unwrap();
    sink.send(Record::from("from the environment")).await.unwrap();
}

fn data(number: usize) -> Bytes {
    Bytes::from(number.to_string())
}

/// `tasks` tasks that send `each` records and await each receipt. The places where the records lie.
async fn put_all(producer: &Producer, tasks: usize, each: usize) -> HashSet<(String, String)> {
    let task = |task: usize| {
        let producer = producer.clone();
        tokio::spawn(async move {
            let numbers = stream::iter(task * each..(task + 1) * each);
            let receipts = numbers.then(move |number| {
                let producer = producer.clone();
                async move { producer.put(Record::from(data(number))).await }
            });
            let outcomes = receipts.map(Result::unwrap).buffered(64);
            let places = outcomes.map(|outcome| {
                let delivery = outcome.unwrap();
                (delivery.shard_id().to_owned(), delivery.sequence_number().to_owned())
            });
            places.collect::<Vec<_>>().await
        })
    };
    let places = future::join_all((0..tasks).map(task)).await;
    places.into_iter().flat_map(Result::unwrap).collect()
}

async fn many_tasks(tasks: usize, each: usize, shards: i32, enforce_limits: bool) {
    let server = Embedded::start(shards, enforce_limits).await.unwrap();
    let mut read_back = ReadBack::begin(server.client(), STREAM, From::Start).await.unwrap();
    let records = tasks * each;
    (0..records).for_each(|number| read_back.expect(data(number)));
    // A server that enforces no limits has no quota.
    let limits = match enforce_limits {
        true => Limits::default(),
        false => Limits::default().with_shard_records(1_000_000).with_shard_bytes(1 << 40),
    };
    let builder = KinesisSink::builder(STREAM).configure(|settings| settings.limits = limits);
    let producer = builder.build(server.client()).unwrap().spawn();
    let places = put_all(&producer, tasks, each).await;
    producer.close_within(Duration::from_secs(60)).await.unwrap();
    assert_eq!(places.len(), records, "each receipt names another place");
    let totals = producer.status().totals;
    assert_eq!((totals.accepted, totals.delivered), (records as u64, records as u64));
    assert_eq!(totals.throttled > 0, enforce_limits);
    let found = read_back.finish().await.unwrap();
    assert_eq!(found, Found { records, missing: 0, duplicated: 0 });
}

#[tokio::test(flavor = "multi_thread")]
async fn thousand_tasks_lose_no_record() {
    many_tasks(1_000, 50, 4, false).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a million records take a minute; `.ci/run` has it"]
async fn thousand_tasks_send_million_records() {
    many_tasks(1_000, 1_000, 4, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn throttled_tasks_lose_no_record() {
    many_tasks(100, 60, 2, true).await;
}
