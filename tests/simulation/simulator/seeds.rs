//! Tests that a seed reproduces a run, and that failing tests print their seed.

use std::collections::HashSet;
use std::process::Command;

use futures::{StreamExt, stream};
use kinesis_sink::sim::{Faults, SimStats};
use kinesis_sink::stream::StreamInfo;
use kinesis_sink::timeout::TimeoutLayer;
use kinesis_sink::{KinesisSink, Record};
use tower::ServiceBuilder;

use super::*;

fn faulty_stream(seed: u64) -> SimStream {
    let faults = Faults::default()
        .with_internal_failures(0.1)
        .with_throttles(0.1)
        .with_request_errors(0.1, "InternalFailure", 500)
        .with_lost_requests(0.05)
        .with_lost_answers(0.05)
        .with_late_writes(0.05, ms(1_500));
    SimStream::builder()
        .with_shards(4)
        .with_seed(seed)
        .with_latency(Latency::log_normal(ms(20), 0.7))
        .with_faults(faults)
        .build()
        .unwrap()
}

async fn run(seed: u64) -> (Vec<Written>, SimStats) {
    let stream = faulty_stream(seed);
    let mut calls = Vec::new();
    for round in 0..200 {
        let entries = (0..20).map(|n| entry(&format!("{round} {n}"), format!("{round} {n}")));
        let call = stream.service().call(request(&stream, entries.collect()));
        calls.push(tokio::spawn(tokio::time::timeout(ms(1_000), call)));
        tokio::time::sleep(ms(3)).await;
    }
    for call in calls {
        let _ = call.await.unwrap();
    }
    tokio::time::sleep(ms(10_000)).await;
    (stream.written(), stream.stats())
}

#[tokio::test(start_paused = true)]
async fn same_seed_reproduces_run() {
    let [first, second] = [run(7).await, run(7).await];
    assert_eq!(first.1, second.1);
    assert!(first.0 == second.0, "same statistics, different records");
    assert!(first.1.late_requests > 0 && first.1.lost_answers > 0, "{:?}", first.1);
    let other = run(8).await;
    assert_ne!(first.1, other.1);
    assert!(first.0 != other.0);
}

/// The faults of a request are drawn when it is sent, so they do not depend on requests that arrive before it.
#[tokio::test(start_paused = true)]
async fn faults_do_not_depend_on_arrival_order() {
    let results = async |pause: u64| {
        let faults = Faults::default().with_internal_failures(0.5);
        let stream = SimStream::builder().with_seed(3).with_faults(faults).build().unwrap();
        let call = || stream.service().call(request(&stream, vec![entry("k", "x"); 50]));
        let first = call();
        tokio::time::sleep(ms(pause)).await;
        let second = call();
        let [second, first] = [second.await.unwrap(), first.await.unwrap()];
        [first, second].map(|one| one.results().iter().map(Result::is_ok).collect::<Vec<_>>())
    };
    let [together, apart] = [results(0).await, results(100).await];
    assert_eq!(together, apart);
    assert_ne!(together[0], together[1]);
}

#[test]
fn random_seed_differs_and_is_in_debug_output() {
    let [one, other] = [SimStream::new(1), SimStream::new(1)];
    assert_ne!(one.seed(), other.seed());
    assert!(format!("{one:?}").contains(&format!("seed: {}", one.seed())));
    assert_eq!(SimStream::builder().with_seed(7).build().unwrap().seed(), 7);
}

#[tokio::test(start_paused = true)]
async fn lookups_do_not_change_faults() {
    let results = async |lookups: usize| {
        let stream = faulty_stream(5);
        stream.set_faults(Faults::default().with_internal_failures(0.5));
        for _ in 0..lookups {
            stream.list_shards(&stream.id()).unwrap().await.unwrap();
        }
        assert_eq!((stream.stats().listings, stream.stats().requests), (lookups as u64, 0));
        let response = put(&stream, vec![entry("k", "x"); 100]).await;
        response.results().iter().map(Result::is_ok).collect::<Vec<_>>()
    };
    assert_eq!(results(0).await, results(3).await);
}

const PANICS: &str = "KINESIS_SINK_TEST_PANICS";

#[test]
fn panicking_test_prints_seed() {
    if std::env::var_os(PANICS).is_some() {
        let _stream = SimStream::builder().with_seed(424_242).build().unwrap();
        panic!("expected panic");
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "simulator::seeds::panicking_test_prints_seed", "--nocapture"]);
    let output = child.env(PANICS, "1").output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(stderr.contains("the simulated stream example had the seed 424242"), "{stderr}");
}

#[tokio::test(start_paused = true)]
async fn sink_delivers_records_through_faults() {
    let kinesis = faulty_stream(11);
    let service =
        ServiceBuilder::new().layer(TimeoutLayer::new(ms(1_000))).service(kinesis.service());
    let mut sink = KinesisSink::builder("example").build_with(service).unwrap();
    let records = stream::iter(0..10_000).map(|number| {
        if number == 5_000 {
            kinesis.split("shardId-000000000001").unwrap();
        }
        Ok(Record::from(number.to_string()))
    });
    records.forward(&mut sink).await.unwrap();
    assert_eq!(kinesis.shards().len(), 5);
    assert_eq!((sink.totals().delivered, sink.status().failed.records), (10_000, 0));
    let written = kinesis.written();
    let distinct: HashSet<_> = texts(&written).into_iter().collect();
    assert_eq!(distinct.len(), 10_000, "{kinesis:?}");
}
