//! Tests of the quota of a shard, in records and bytes per second.

use kinesis_sink::BuildError;
use tokio::time::{advance, sleep};

use super::*;

#[tokio::test(start_paused = true)]
async fn shard_accepts_burst_then_refilled_quota() {
    let stream = no_latency().build().unwrap();
    assert_eq!(put_small(&stream, 1_500).await, 1_000);
    assert_eq!(put_small(&stream, 10).await, 0);
    sleep(ms(37)).await;
    assert_eq!(put_small(&stream, 100).await, 37);
    sleep(ms(60_000)).await;
    assert_eq!(put_small(&stream, 1_500).await, 1_000, "a pause refills at most one burst");
    let stats = stream.stats();
    assert_eq!((stats.entries, stats.accepted_entries), (3_110, 2_037));
    assert_eq!((stats.throttled_entries, stats.accepted_bytes), (1_073, 2_037 * 4));
    assert_eq!(stream.written().len(), 2_037);
}

#[tokio::test(start_paused = true)]
async fn throttle_message_names_shard_and_stream() {
    let stream = no_latency().with_shards(2).with_shard_quota(1, 1_000_000).build().unwrap();
    let upper = || at_hash(u128::MAX, "x");
    let response = put(&stream, vec![upper(), upper(), at_hash(0, "y")]).await;
    let results = response.results();
    assert_eq!(results[0].as_ref().unwrap().shard_id(), "shardId-000000000001");
    let throttled = results[1].as_ref().unwrap_err();
    assert_eq!(throttled.code(), THROTTLE);
    assert_eq!(
        throttled.message(),
        "Rate exceeded for shard shardId-000000000001 in stream example under account 123456789012."
    );
    assert_eq!(results[2].as_ref().unwrap().shard_id(), "shardId-000000000000");
}

#[tokio::test(start_paused = true)]
async fn byte_quota_includes_partition_key() {
    let stream = no_latency().with_shard_quota(1_000, 100).build().unwrap();
    let sizes = [50, 49, 40, 10, 1];
    let entries = sizes.map(|bytes| entry("key7654321", vec![0; bytes - 1])).to_vec();
    // The sizes, including keys of ten bytes, are 59, 58 (throttled), 49 (throttled), 19, and 10.
    let response = put(&stream, entries.clone()).await;
    let passed: Vec<_> = response.results().iter().map(Result::is_ok).collect();
    assert_eq!(passed, [true, false, false, true, true]);
    assert_eq!(stream.stats().accepted_bytes, 59 + 19 + 10);
    // 12 bytes are left, and 100 bytes are added per second, so 49 bytes are available after 370 ms.
    let forty_nine = || vec![entries[2].clone()];
    sleep(ms(369)).await;
    assert_eq!(put(&stream, forty_nine()).await.delivered(), 0);
    sleep(ms(1)).await;
    assert_eq!(put(&stream, forty_nine()).await.delivered(), 1);
}

#[tokio::test(start_paused = true)]
async fn oversized_record_leaves_deficit() {
    let mib = 1024 * 1024;
    let stream = no_latency().with_max_record_bytes(10 * mib).build().unwrap();
    let large = || vec![entry("k", vec![0; 4 * mib - 1])];
    assert_eq!(put(&stream, large()).await.delivered(), 1);
    // The record leaves a deficit of 3 MiB, which shrinks by 1 MiB per second.
    sleep(ms(3_000)).await;
    assert_eq!(put_small(&stream, 1).await, 0);
    sleep(ms(1)).await;
    assert_eq!(put_small(&stream, 1).await, 1);
    assert_eq!(put(&stream, large()).await.delivered(), 0, "the bucket is not full");
}

#[tokio::test(start_paused = true)]
async fn with_byte_burst_sets_byte_burst() {
    let mib = 1024 * 1024;
    let builder = no_latency().with_max_record_bytes(10 * mib).with_byte_burst(10 * mib);
    let stream = builder.build().unwrap();
    let large = |mibs: usize| vec![entry("k", vec![0; mibs * mib - 1])];
    assert_eq!(put(&stream, large(6)).await.delivered(), 1);
    assert_eq!(put(&stream, large(4)).await.delivered(), 1);
    assert_eq!(put_small(&stream, 1).await, 0);
    sleep(ms(3_000)).await;
    assert_eq!(put(&stream, large(4)).await.delivered(), 0);
    assert_eq!(put(&stream, large(3)).await.delivered(), 1);
    sleep(ms(10_000)).await;
    assert_eq!(put_small(&stream, 1_500).await, 1_000);
}

#[tokio::test(start_paused = true)]
async fn with_burst_limits_burst() {
    let stream = no_latency().with_burst(ms(50)).build().unwrap();
    assert_eq!(put_small(&stream, 500).await, 50);
    sleep(ms(1_000)).await;
    assert_eq!(put_small(&stream, 500).await, 50);
    let none = no_latency().with_burst(ms(0)).build().unwrap();
    let mut accepted = 0;
    for _ in 0..100 {
        accepted += put_small(&none, 10).await;
        advance(ms(1)).await;
    }
    assert_eq!(accepted, 100);
}

#[tokio::test(start_paused = true)]
async fn background_load_reduces_quota() {
    let stream = no_latency().with_load(0.75).with_shards(2).build().unwrap();
    let both = |n: usize| (0..n).map(|n| at_hash((n % 2) as u128 * u128::MAX, "x")).collect();
    for _ in 0..4 {
        assert_eq!(put(&stream, both(500)).await.delivered(), 500);
    }
    assert_eq!(put(&stream, both(500)).await.delivered(), 0);
    sleep(ms(100)).await;
    assert_eq!(put(&stream, both(500)).await.delivered(), 2 * 25);
    stream.set_shard_load("shardId-000000000001", 1.0).unwrap();
    sleep(ms(100)).await;
    assert_eq!(put(&stream, both(500)).await.delivered(), 25);
    assert_eq!(stream.written_to("shardId-000000000001").len(), 1_025);
    stream.set_load(0.0);
    sleep(ms(100)).await;
    assert_eq!(put(&stream, both(500)).await.delivered(), 200);
    assert!(stream.set_shard_load("shardId-000000000002", 0.0).is_err());
}

#[tokio::test(start_paused = true)]
async fn load_applies_to_bytes_and_new_shards() {
    let stream = no_latency().with_shard_quota(1_000, 1_000).with_load(0.5).build().unwrap();
    stream.split("shardId-000000000000").unwrap();
    let hundred = |n: usize| (0..n).map(|_| entry("k", vec![0; 99])).collect();
    assert_eq!(put(&stream, hundred(20)).await.delivered(), 10);
    sleep(ms(1_000)).await;
    assert_eq!(put(&stream, hundred(20)).await.delivered(), 5);
    stream.set_load(0.8);
    sleep(ms(1_000)).await;
    assert_eq!(put(&stream, hundred(20)).await.delivered(), 2);
}

#[test]
fn build_error_names_invalid_setting() {
    let refused = |builder: SimBuilder| builder.build().unwrap_err();
    for (builder, field) in [
        (no_latency().with_shards(0), "shards"),
        (no_latency().with_shards(10_001), "shards"),
        (no_latency().with_shard_quota(0, 1), "records_per_s"),
        (no_latency().with_shard_quota(1, 0), "bytes_per_s"),
        (no_latency().with_burst(ms(3_600_001)), "burst"),
        (no_latency().with_byte_burst((1 << 30) + 1), "byte_burst"),
        (no_latency().with_limiter(Limiter::default().with_front_ends(0)), "front_ends"),
        (no_latency().with_limiter(Limiter::default().with_front_ends(1_001)), "front_ends"),
        (no_latency().with_limiter(Limiter::default().with_lag(ms(3_600_001))), "lag"),
        (no_latency().with_load(1.1), "load"),
        (no_latency().with_load(f64::NAN), "load"),
        (no_latency().with_max_record_bytes(0), "max_record_bytes"),
    ] {
        assert_eq!(refused(builder).setting(), Some(field));
    }
    assert!(matches!(refused(no_latency().with_name("a b")), BuildError::Stream(_)));
    assert!(matches!(refused(no_latency().with_account("12")), BuildError::Stream(_)));
}
