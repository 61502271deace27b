//! Tests that the simulated stream works at both bounds of each setting, and that `build` rejects values beyond them.

use std::time::Duration;

use fastrand::Rng;
use futures::SinkExt;
use kinesis_sink::limits::MAX_RECORD_BYTES;
use kinesis_sink::sim::{Latency, SimBuilder, SimStream};
use kinesis_sink::{KinesisSink, Record};

use super::setting::{Setting, assert_out_of_range, range};
use super::workload::{records, send};

const NANO: Duration = Duration::from_nanos(1);
const HOUR: Duration = Duration::from_secs(3_600);

fn settings() -> Vec<Setting<SimBuilder>> {
    vec![
        range("shards", [1, 10_000], &[0, 10_001], SimBuilder::with_shards),
        range("records_per_s", [1, u32::MAX], &[0], |sim, records| {
            sim.with_shard_quota(records, 1_000)
        }),
        range("bytes_per_s", [1, u32::MAX], &[0], |sim, bytes| sim.with_shard_quota(1_000, bytes)),
        range(
            "burst",
            [Duration::ZERO, HOUR],
            &[HOUR + NANO, Duration::MAX],
            SimBuilder::with_burst,
        ),
        range("byte_burst", [0, 1 << 30], &[(1 << 30) + 1], SimBuilder::with_byte_burst),
        range("load", [0.0, 1.0], &[-0.1, 1.1, f64::NAN], SimBuilder::with_load),
        range(
            "max_record_bytes",
            [1, MAX_RECORD_BYTES],
            &[0, MAX_RECORD_BYTES + 1],
            SimBuilder::with_max_record_bytes,
        ),
        // Every value of these settings is valid.
        range("seed", [0, u64::MAX], &[], SimBuilder::with_seed),
        range("latency", [Duration::ZERO, HOUR], &[], |sim, time| {
            sim.with_latency(Latency::constant(time))
        }),
        range("name", ["a", LONGEST_NAME], &[], SimBuilder::with_name),
        range("account", ["000000000000", "999999999999"], &[], SimBuilder::with_account),
    ]
}

/// A stream name of the maximum length, 128 characters.
const LONGEST_NAME: &str = concat!(
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ-._.-_ABCDEFGHIJKLMNOPQRSTUVWXYZ-._.-_",
);

async fn check(name: &str, builder: SimBuilder) {
    let kinesis = builder.build().unwrap();
    // Records beyond the burst would wait forever, because a load of 1.0 uses the whole quota.
    let sink = KinesisSink::builder(kinesis.id())
        .configure(|settings| settings.seed = Some(1))
        .with_deadline(7 * 24 * HOUR);
    let sink = sink.with_stream_info(kinesis.clone());
    let sink = sink.build_with(kinesis.service()).unwrap();
    let count = 60;
    let outcomes = send(sink, &kinesis, records(&mut Rng::with_seed(1), count)).await;
    assert_eq!(outcomes.delivered + outcomes.too_large, count, "{name}: {:?}", outcomes.failed);
    assert!(outcomes.delivered > 0, "{name}: no record delivered");
    assert!(name == "minimum max_record_bytes" || outcomes.too_large == 0, "{name}");
}

#[tokio::test(start_paused = true)]
async fn range_bounds_deliver_records() {
    for Setting { field, bounds: [low, high], .. } in settings() {
        check(&format!("minimum {field}"), low(SimStream::builder().with_seed(1))).await;
        check(&format!("maximum {field}"), high(SimStream::builder().with_seed(1))).await;
    }
}

#[tokio::test(start_paused = true)]
async fn zero_kept_bytes_keeps_record_sizes() {
    let kinesis = SimStream::builder().with_kept_bytes(0).build().unwrap();
    let mut sink = KinesisSink::builder("example").build_with(kinesis.service()).unwrap();
    for bytes in [0, 1, MAX_RECORD_BYTES / 10 - 1] {
        sink.feed(Record::from(("k", vec![7; bytes]))).await.unwrap();
    }
    sink.close().await.unwrap();
    let written = kinesis.written();
    assert!(written.iter().all(|written| written.data().is_empty()));
    let sizes: Vec<_> = written.iter().map(|written| written.size()).collect();
    assert_eq!(sizes, [1, 2, MAX_RECORD_BYTES / 10]);
}

#[test]
fn build_rejects_out_of_range_value() {
    for setting in settings() {
        for change in setting.outside {
            assert_out_of_range(&change(SimStream::builder()).build().unwrap_err(), setting.field);
        }
    }
    let long = format!("{LONGEST_NAME}x");
    for name in ["", "a b", "ä", &long] {
        let error = SimStream::builder().with_name(name).build().unwrap_err().to_string();
        assert!(error.contains("resource should be `stream/` and a stream name"), "{error}");
    }
    for account in ["", "12345678901", "1234567890123", "12345678901x", "١٢٣٤٥٦٧٨٩٠١٢"]
    {
        let error = SimStream::builder().with_account(account).build().unwrap_err().to_string();
        assert!(error.contains("account should be 12 digits"), "{error}");
    }
}
