//! Tests that a sink delivers at both bounds of each setting and limit, and that `build` rejects values beyond them.

use std::time::Duration;

use fastrand::Rng;
use futures::SinkExt;
use kinesis_sink::limits::{Limits, MAX_RECORD_BYTES, MAX_REQUEST_BYTES};
use kinesis_sink::record::FailureReason;
use kinesis_sink::settings::Linger;
use kinesis_sink::sim::{Latency, SimStream};
use kinesis_sink::{Aggregation, BuildError, KinesisSink, Record, RecordOrdering, SinkBuilder};

use super::setting::{Setting, assert_out_of_range, range};
use super::workload::{Outcomes, produce, records, send};

const NANO: Duration = Duration::from_nanos(1);
const MILLISECOND: Duration = Duration::from_millis(1);
const MINUTE: Duration = Duration::from_secs(60);
const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);
const MAX_AGGREGATE_RECORDS: usize = u32::MAX as usize;
const MAX_BUFFER_BYTES: usize = if usize::BITS > 32 { (1 << 20) * (1 << 20) } else { 1 << 31 };

pub fn sink_settings() -> Vec<Setting<SinkBuilder>> {
    vec![
        range("max_in_flight", [1, 1_000], &[0, 1_001], SinkBuilder::with_max_in_flight),
        range(
            "linger",
            [Duration::ZERO, MINUTE],
            &[MINUTE + NANO, Duration::MAX],
            |sink, value| sink.with_linger(Linger::Adaptive(value)),
        ),
        range(
            "linger",
            [Duration::ZERO, MINUTE],
            &[MINUTE + NANO, Duration::MAX],
            |sink, value| sink.with_linger(Linger::Fixed(value)),
        ),
        range(
            "aggregate_bytes",
            [1, MAX_RECORD_BYTES],
            &[0, MAX_RECORD_BYTES + 1, usize::MAX],
            |sink, bytes| sink.configure(|settings| settings.aggregate_bytes = bytes),
        ),
        range(
            "aggregate_records",
            [1, MAX_AGGREGATE_RECORDS],
            &[0, MAX_AGGREGATE_RECORDS + 1],
            |sink, value| sink.configure(|settings| settings.aggregate_records = value),
        ),
        range("buffer_records", [1, 100_000_000], &[0, 100_000_001], |sink, value| {
            sink.configure(|settings| settings.buffer_records = Some(value))
        }),
        range("buffer_bytes", [1, MAX_BUFFER_BYTES], &[0, MAX_BUFFER_BYTES + 1], |sink, bytes| {
            sink.configure(|settings| settings.buffer_bytes = bytes)
        }),
        range(
            "backoff.base",
            [MILLISECOND, MINUTE],
            &[Duration::ZERO, MILLISECOND - NANO, MINUTE + NANO],
            |sink, base| {
                sink.configure(|settings| {
                    settings.backoff.base = base;
                    settings.backoff.ceiling = MINUTE;
                })
            },
        ),
        range(
            "backoff.ceiling",
            [MILLISECOND, MINUTE],
            &[MILLISECOND - NANO, MINUTE + NANO],
            |sink, ceiling| {
                sink.configure(|settings| {
                    settings.backoff.base = MILLISECOND;
                    settings.backoff.ceiling = ceiling;
                })
            },
        ),
        range("max_attempts", [1, u32::MAX], &[0], |sink, value| {
            sink.configure(|settings| settings.max_attempts = Some(value))
        }),
        range(
            "deadline",
            [MILLISECOND, WEEK],
            &[Duration::ZERO, MILLISECOND - NANO, WEEK + NANO],
            SinkBuilder::with_deadline,
        ),
    ]
}

pub fn limits() -> Vec<Setting<Limits>> {
    vec![
        range("request_entries", [1, 500], &[0, 501], Limits::with_request_entries),
        range(
            "request_bytes",
            [1, MAX_REQUEST_BYTES],
            &[0, MAX_REQUEST_BYTES + 1],
            |limits, bytes| limits.with_record_bytes(1).with_request_bytes(bytes),
        ),
        range(
            "record_bytes",
            [1, MAX_RECORD_BYTES],
            &[0, MAX_RECORD_BYTES + 1],
            |limits, bytes| limits.with_request_bytes(MAX_REQUEST_BYTES).with_record_bytes(bytes),
        ),
        range("shard_records", [1, 1_000_000_000], &[0, 1_000_000_001], Limits::with_shard_records),
        range("shard_bytes", [1, 1 << 40], &[0, (1 << 40) + 1], Limits::with_shard_bytes),
    ]
}

fn builder() -> SinkBuilder {
    KinesisSink::builder("example").configure(|settings| settings.seed = Some(1))
}

fn all_bounds() -> Vec<(String, SinkBuilder)> {
    let mut all = Vec::new();
    for Setting { field, bounds: [low, high], .. } in sink_settings() {
        all.push((format!("minimum {field}"), low(builder())));
        all.push((format!("maximum {field}"), high(builder())));
    }
    for Setting { field, bounds: [low, high], .. } in limits() {
        all.push((
            format!("minimum {field}"),
            builder().configure(|settings| settings.limits = low(Limits::default())),
        ));
        all.push((
            format!("maximum {field}"),
            builder().configure(|settings| settings.limits = high(Limits::default())),
        ));
    }
    all
}

fn check(name: &str, outcomes: &Outcomes, count: usize) {
    assert_eq!(outcomes.delivered + outcomes.too_large + outcomes.failed.len(), count, "{name}");
    // All records can expire, because listing the shards alone takes longer than the minimum deadline.
    assert!(outcomes.delivered > 0 || name == "minimum deadline", "{name}: no record delivered");
    let is_small = name == "minimum record_bytes" || name.contains("request_bytes");
    assert!(is_small || outcomes.too_large == 0, "{name}: {} too large", outcomes.too_large);
    let is_expired =
        |reason: &FailureReason| matches!(reason, FailureReason::DeadlineExceeded { .. });
    assert!(outcomes.failed.iter().all(is_expired), "{name}: {:?}", outcomes.failed);
    assert!(name == "minimum deadline" || outcomes.failed.is_empty(), "{name}");
}

async fn check_all_bounds(aggregation: Aggregation) {
    for ordering in [RecordOrdering::Unordered, RecordOrdering::PerKey] {
        let pairs = all_bounds().into_iter().zip(all_bounds());
        for ((name, for_sink), (_, for_producer)) in pairs {
            println!("{name}, {aggregation:?}, {ordering:?}");
            let records = records(&mut Rng::with_seed(1), 60);
            let with = |builder: SinkBuilder| {
                let kinesis = SimStream::builder().with_shards(2).with_seed(1).build().unwrap();
                let builder = builder.with_aggregation(aggregation).with_ordering(ordering);
                let builder = builder.with_stream_info(kinesis.clone());
                let sink = builder.build_with(kinesis.service()).unwrap();
                (sink, kinesis, records.clone())
            };
            let (sink, kinesis, all) = with(for_sink);
            check(&name, &send(sink, &kinesis, all).await, 60);
            let (sink, kinesis, all) = with(for_producer);
            check(&name, &produce(sink, &kinesis, all).await, 60);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn range_bounds_deliver_records() {
    check_all_bounds(Aggregation::Off).await;
}

#[tokio::test(start_paused = true)]
async fn range_bounds_deliver_aggregates_per_key() {
    check_all_bounds(Aggregation::PerKey).await;
}

#[tokio::test(start_paused = true)]
async fn range_bounds_deliver_aggregates_per_shard() {
    check_all_bounds(Aggregation::PerShard).await;
}

fn refusal(builder: SinkBuilder) -> BuildError {
    let kinesis = SimStream::new(1);
    builder.build_with(kinesis.service()).expect_err("value out of range")
}

#[test]
fn build_rejects_out_of_range_value() {
    for setting in sink_settings() {
        for change in setting.outside {
            assert_out_of_range(&refusal(change(builder())), setting.field);
        }
    }
    for setting in limits() {
        for change in setting.outside {
            let limits = change(Limits::default());
            let error = refusal(builder().configure(|settings| settings.limits = limits));
            assert_out_of_range(&error, &format!("limits.{}", setting.field));
        }
    }
}

#[test]
fn build_rejects_conflicting_settings() {
    for (builder, expected) in [
        (
            builder().configure(|settings| {
                settings.backoff.base = MINUTE;
                settings.backoff.ceiling = MILLISECOND;
            }),
            "backoff.base is 1m, more than backoff.ceiling (1ms): raise backoff.ceiling or lower \
             backoff.base",
        ),
        (
            builder().configure(|settings| {
                settings.limits = Limits::default().with_record_bytes(MAX_RECORD_BYTES)
            }),
            "limits.record_bytes is 10MiB, more than limits.request_bytes (5MiB): raise \
             limits.request_bytes or lower limits.record_bytes",
        ),
        (
            builder().with_aggregation(Aggregation::PerShard),
            "aggregation per shard needs the stream's shards: set a source that lists them with \
             `with_stream_info`, or aggregate per key",
        ),
    ] {
        assert_eq!(refusal(builder).to_string(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn request_timeout_range_is_1ms_to_10m() {
    let minimum = MILLISECOND;
    let maximum = 10 * MINUTE;
    for (timeout, latency) in [(minimum, Duration::ZERO), (maximum, maximum - MILLISECOND)] {
        let latency = Latency::constant(latency);
        let kinesis = SimStream::builder().with_latency(latency).build().unwrap();
        let builder = builder().configure(|settings| {
            settings.request_timeout = timeout;
            settings.max_attempts = Some(1);
        });
        let mut sink = builder.build(&kinesis.client()).unwrap();
        sink.send(Record::from("x")).await.unwrap();
        assert_eq!(kinesis.written().len(), 1);
    }
    for timeout in [Duration::ZERO, minimum - NANO, maximum + NANO] {
        let client = SimStream::new(1).client();
        let error = builder()
            .configure(|settings| settings.request_timeout = timeout)
            .build(&client)
            .unwrap_err();
        assert_out_of_range(&error, "request_timeout");
        assert!(error.to_string().ends_with("; set it between 1ms and 10m"), "{error}");
    }
}
