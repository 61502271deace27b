//! Tests the sink and the example `forward` with a Kinesis server in this process, with and without throttling.
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

fn payloads(count: usize, max_size: usize, seed: u64) -> Vec<Bytes> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut payload = |number: usize| {
        let mut data = number.to_be_bytes().to_vec();
        data.extend(std::iter::repeat_with(|| rng.u8(..)).take(number % max_size));
        Bytes::from(data)
    };
    (0..count).map(&mut payload).collect()
}

async fn send_and_read_back(server: &Embedded, payloads: Vec<Bytes>) -> (KinesisSink, Found) {
    let mut read_back = ReadBack::begin(server.client(), STREAM, From::Start).await.unwrap();
    for payload in &payloads {
        read_back.expect(payload.clone());
    }
    let mut sink = KinesisSink::new(server.client(), STREAM).unwrap();
    let records = stream::iter(payloads).map(Record::from).map(Ok);
    tokio::time::timeout(Duration::from_secs(120), records.forward(&mut sink))
        .await
        .expect("the run ends within two minutes")
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
async fn throttling_does_not_lose_records() {
    let server = Embedded::start(1, true).await.unwrap();
    // A shard accepts 1,000 records per second, and the sink sends small records faster than that on any machine.
    let (sink, found) = send_and_read_back(&server, payloads(4_000, 20, 2)).await;
    assert_eq!(found, Found { records: 4_000, missing: 0, duplicated: 0 });
    assert!(sink.totals().throttled > 0, "some entries were throttled");
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
    let stdout = String::from_utf8(output.stdout).unwrap();
    let last = stdout.lines().last().unwrap();
    assert!(output.status.success(), "{stdout}");
    assert!(last.starts_with("forwarded 3000 records in "), "{last}");
    assert!(last.contains("0 failed; read back 3000, 0 missing, 0 duplicated; "), "{last}");
    assert!(last.ends_with(" of 4000 records/s"), "{last}");
}

/// Only the better of two runs counts, because the rate depends on the load of the machine.
#[test]
#[ignore = "20 s, alone: cargo test --test servers -- --ignored --test-threads=1 forward_uses_full_rate"]
fn forward_uses_full_rate_when_throttled() {
    let rate = || {
        let output = forward(&["--throttled", "--records", "40000"], &[]);
        let stdout = String::from_utf8(output.stdout).unwrap();
        let last = stdout.lines().last().unwrap();
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
    let by_stdin = forward_with_input(&["--file", "-"], &[], input);
    std::fs::remove_file(&path).unwrap();
    for output in [by_path, by_stdin] {
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{stdout}");
        assert!(stdout.contains("read back 6, 0 missing, 0 duplicated"), "{stdout}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn forward_reads_back_from_endpoint() {
    let server = Embedded::start(2, false).await.unwrap();
    let mut sink = KinesisSink::new(server.client(), STREAM).unwrap();
    sink.send(Record::from("older record")).await.unwrap();
    let arguments = ["--endpoint", server.endpoint(), "--region", "us-east-1", "--records", "700"];
    let keys = [("AWS_ACCESS_KEY_ID", "x"), ("AWS_SECRET_ACCESS_KEY", "y")];
    let output = forward(&[&arguments[..], &["--read-back"]].concat(), &keys);
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{stdout}");
    assert!(stdout.contains("read back 700, 0 missing, 0 duplicated"), "{stdout}");
    let missing = [&arguments[..4], &["--stream", "no-such-stream"]].concat();
    let output = forward(&missing, &keys);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && stderr.contains("does not exist"), "{stderr}");
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
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.contains("stopped at line 2; 1 records delivered, 0 kept"), "{stderr}");
    assert!(stderr.contains("record is 11000"), "{stderr}");
}

#[test]
fn forward_reports_error_in_one_line() {
    let keys = [("AWS_ACCESS_KEY_ID", "x"), ("AWS_SECRET_ACCESS_KEY", "y")];
    let unreachable = ["--region", "us-east-1", "--endpoint", "http://127.0.0.1:1"];
    for (arguments, environment, expected) in [
        (&["--file", "/no/such/file"][..], &[][..], "cannot read /no/such/file"),
        (&["--stream", "arn:aws:kinesis:x"], &keys, "is not a stream ARN"),
        (&["--stream", "a b"], &keys, "is not a stream name"),
        (&["--stream", "example"], &keys, "no region is configured"),
        (&["--stream", "example", "--region", "us-east-1"], &[], "no AWS credentials found"),
        (&unreachable, &keys, "the endpoint cannot be reached"),
    ] {
        let output = forward(arguments, environment);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {stderr}");
        assert!(
            stderr.starts_with("error: ") && stderr.contains(expected),
            "{arguments:?}: {stderr}"
        );
        assert_eq!(stderr.lines().count(), 1, "{arguments:?}: {stderr}");
    }
}

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
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!output.status.success() && stdout.contains("no region is configured"), "{stdout}");
    let output = run("us-east-1", "http://127.0.0.1:1");
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!output.status.success() && stdout.contains("refused the connection"), "{stdout}");
}

#[tokio::test]
#[ignore = "runs in a process that from_env_reads_environment starts"]
async fn from_env_child_process() {
    let endpoint = std::env::var("AWS_ENDPOINT_URL").unwrap_or_default();
    if !endpoint.starts_with("http://127.0.0.1:") {
        return; // Never write to a real account.
    }
    let mut sink = KinesisSink::from_env(STREAM).await.unwrap();
    sink.send(Record::from("from the environment")).await.unwrap();
}

fn data(number: usize) -> Bytes {
    Bytes::from(number.to_string())
}

/// Sends records from several tasks. Returns the shards and sequence numbers from the receipts.
async fn put_all(
    producer: &Producer,
    tasks: usize,
    records_per_task: usize,
) -> HashSet<(String, String)> {
    let task = |task: usize| {
        let producer = producer.clone();
        tokio::spawn(async move {
            let numbers = stream::iter(task * records_per_task..(task + 1) * records_per_task);
            let receipts = numbers.then(move |number| {
                let producer = producer.clone();
                async move { producer.put(Record::from(data(number))).await }
            });
            let outcomes = receipts.map(Result::unwrap).buffered(64);
            let positions = outcomes.map(|outcome| {
                let delivery = outcome.unwrap();
                (delivery.shard_id().to_owned(), delivery.sequence_number().to_owned())
            });
            positions.collect::<Vec<_>>().await
        })
    };
    let positions = future::join_all((0..tasks).map(task)).await;
    positions.into_iter().flat_map(Result::unwrap).collect()
}

async fn assert_tasks_lose_no_record(
    tasks: usize,
    records_per_task: usize,
    shards: i32,
    enforce_limits: bool,
) {
    let server = Embedded::start(shards, enforce_limits).await.unwrap();
    let mut read_back = ReadBack::begin(server.client(), STREAM, From::Start).await.unwrap();
    let records = tasks * records_per_task;
    for number in 0..records {
        read_back.expect(data(number));
    }
    let limits = if enforce_limits {
        Limits::default()
    } else {
        Limits::default().with_shard_records(1_000_000).with_shard_bytes(1 << 40)
    };
    let builder = KinesisSink::builder(STREAM).configure(|settings| settings.limits = limits);
    let producer = builder.build(server.client()).unwrap().spawn();
    let positions = put_all(&producer, tasks, records_per_task).await;
    producer.close_within(Duration::from_secs(60)).await.unwrap();
    assert_eq!(positions.len(), records, "the positions are distinct");
    let totals = producer.status().totals;
    assert_eq!((totals.accepted, totals.delivered), (records as u64, records as u64));
    assert_eq!(totals.throttled > 0, enforce_limits);
    let found = read_back.finish().await.unwrap();
    assert_eq!(found, Found { records, missing: 0, duplicated: 0 });
}

#[tokio::test(flavor = "multi_thread")]
async fn thousand_tasks_do_not_lose_records() {
    assert_tasks_lose_no_record(1_000, 50, 4, false).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute; `.ci/run` runs it"]
async fn thousand_tasks_send_million_records() {
    assert_tasks_lose_no_record(1_000, 1_000, 4, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn throttled_tasks_do_not_lose_records() {
    assert_tasks_lose_no_record(100, 60, 2, true).await;
}
