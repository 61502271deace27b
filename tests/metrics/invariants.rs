//! Tests that metrics stay consistent with each other under random settings and faults.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use futures::SinkExt;
use kinesis_sink::settings::Linger;
use kinesis_sink::sim::{Faults, SimStream};
use kinesis_sink::{Aggregation, KinesisSink, Record, RecordOrdering, SinkBuilder};
use tokio::time::{sleep, timeout};

use crate::recorder::Recorded;

const SINKS: u64 = 200;
const FAILURES: [&str; 4] = ["rejected", "attempts_exhausted", "deadline_exceeded", "refused"];

fn faults(rng: &mut Rng) -> Faults {
    let mut faults = Faults::default().with_throttles(0.1).with_internal_failures(0.1);
    for (code, status) in [
        ("ValidationException", 400),
        ("ExpiredTokenException", 400),
        ("AccessDeniedException", 400),
        ("LimitExceededException", 400),
        ("InternalFailure", 500),
    ] {
        faults = faults.with_request_errors(0.1 * f64::from(rng.u8(..2)), code, status);
    }
    faults.with_lost_requests(0.05).with_lost_answers(0.05)
}

fn random_builder(rng: &mut Rng, stream: &SimStream) -> SinkBuilder {
    let mut builder = KinesisSink::builder("example")
        .configure(|settings| settings.seed = Some(rng.u64(..)))
        .with_max_in_flight(rng.usize(1..4))
        .configure(|settings| settings.buffer_records = Some(rng.usize(50..500)))
        .with_linger(Linger::Adaptive(Duration::from_millis(rng.u64(1..200))))
        .with_stream_info(stream.clone());
    if rng.bool() {
        builder =
            builder.with_aggregation([Aggregation::PerKey, Aggregation::PerShard][rng.usize(..2)]);
    }
    if rng.bool() {
        builder = builder.with_ordering(RecordOrdering::PerKey);
    }
    if rng.bool() {
        builder = builder.configure(|settings| settings.max_attempts = Some(rng.u32(1..4)));
    }
    if rng.bool() {
        builder = builder.with_deadline(Duration::from_millis(rng.u64(1..5_000)));
    }
    if rng.bool() {
        builder = builder.with_dead_letters(drop);
    }
    builder
}

fn record(rng: &mut Rng) -> Record {
    Record::from((rng.u8(..20).to_string(), vec![0; rng.usize(1..2_000)]))
}

fn failed(recorder: &Recorded, reason: &str) -> u64 {
    recorder.counter_of("user_records_failed", &[("reason", reason)])
}

fn check(recorder: &Recorded) {
    let received = recorder.counter("user_records_received");
    let [put, withdrawn] =
        ["user_records_put", "user_records_withdrawn"].map(|name| recorder.counter(name));
    let failed: u64 = FAILURES.into_iter().map(|reason| failed(recorder, reason)).sum();
    let pending = recorder.gauge("user_records_pending");
    assert_eq!(received, put + failed + withdrawn + pending as u64);

    let values = |name| recorder.histogram(name).values().sum::<usize>() as u64;
    assert_eq!(values("delivery_time"), put);
    assert_eq!(values("retries_per_record"), put + failed);
    let buffered = values("buffering_time");
    assert!((put..=received).contains(&buffered), "{buffered} buffering times, {received} records");
}

async fn use_a_sink(rng: &mut Rng, recorder: &Recorded) {
    let stream =
        SimStream::builder().with_shards(2).with_faults(faults(rng)).with_seed(rng.u64(..));
    let stream = stream.build().unwrap();
    let mut sink = random_builder(rng, &stream).build_with(stream.service()).unwrap();
    for _ in 0..rng.usize(1..8) {
        for _ in 0..rng.usize(..200) {
            let fed = timeout(Duration::from_secs(5), sink.feed(record(rng))).await;
            if !matches!(fed, Ok(Ok(()))) {
                break;
            }
        }
        let _ = timeout(Duration::from_millis(rng.u64(..5_000)), sink.flush()).await;
        match rng.u8(..10) {
            0 => drop(sink.take_undelivered()),
            1 => drop(sink.take_failed()),
            2 => drop(stream.split(stream.shards()[0].id())),
            _ => {}
        }
        let _ = timeout(Duration::from_millis(1), sink.flush()).await;
    }
    if rng.bool() {
        let _ = timeout(Duration::from_secs(60), sink.close()).await;
        check(recorder);
    }
    if rng.bool() {
        let _ = sink.spawn().close_within(Duration::from_secs(rng.u64(..60))).await;
    }
}

#[tokio::test(start_paused = true)]
async fn metrics_stay_consistent_under_faults() {
    let mut seen: BTreeMap<_, u64> = BTreeMap::new();
    for seed in 0..SINKS {
        println!("seed {seed}");
        let recorder = Recorded::install();
        use_a_sink(&mut Rng::with_seed(seed), &recorder).await;
        // Gives the driver time to end and drop its sink.
        sleep(Duration::from_secs(1)).await;
        check(&recorder);
        assert_eq!(recorder.gauge("user_records_pending"), 0.0);
        assert_eq!(recorder.gauge("buffered_bytes"), 0.0);
        for reason in FAILURES {
            *seen.entry(reason).or_default() += failed(&recorder, reason);
        }
        *seen.entry("withdrawn").or_default() += recorder.counter("user_records_withdrawn");
        let bisected =
            recorder.counter_of("put_records_requests_flushed", &[("reason", "bisected")]);
        *seen.entry("bisected").or_default() += bisected;
    }
    assert!(seen.values().all(|times| *times > 0), "{seen:?}");
}
