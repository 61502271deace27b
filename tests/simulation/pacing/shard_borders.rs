//! Tests of records whose hash keys are near shard borders. The borders are not multiples of a power of two.

use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use kinesis_sink::record::HashKey;
use kinesis_sink::sim::{SimStats, SimStream};
use kinesis_sink::{Aggregation, KinesisSink, Record};
use tokio::time::timeout;

use super::events::near_border;
use super::load::{Keys, Load, RECORD_BYTES, Source};

const SECONDS: u64 = 8;

/// Shard counts for which the end of a shard and the start of the next one have the same upper 64 bits.
const UNEVEN_COUNTS: [usize; 3] = [3, 5, 7];

fn stream_of(shards: usize) -> SimStream {
    SimStream::builder().with_shards(shards).with_seed(1).build().unwrap()
}

async fn send(
    stream: &SimStream,
    aggregation: Aggregation,
    records: impl Stream<Item = Record>,
) -> SimStats {
    let builder = KinesisSink::builder("example")
        .configure(|settings| settings.seed = Some(1))
        .with_aggregation(aggregation);
    let builder = builder
        .with_stream_info(stream.clone())
        .configure(|settings| settings.describe_stream = false);
    let mut sink = builder.build_with(stream.service()).unwrap();
    let sent = timeout(Duration::from_secs(SECONDS), records.map(Ok).forward(&mut sink)).await;
    assert!(sent.is_err(), "the sink stopped: {sent:?}");
    stream.stats()
}

fn start_keys(stream: &SimStream) -> Vec<HashKey> {
    stream.shards().iter().map(|shard| shard.range().start()).collect()
}

#[tokio::test(start_paused = true)]
async fn near_border_returns_keys_at_all_borders() {
    for shards in 1..=17 {
        let stream = stream_of(shards);
        let start_keys = start_keys(&stream).into_iter().map(HashKey::get);
        let around = start_keys.flat_map(|at| [at.wrapping_sub(1), at, at.wrapping_add(1)]);
        let near = (0..3 * shards as u128).map(|value| near_border(shards, value.into()).get());
        assert!(around.eq(near), "{shards} shards");
    }
}

#[tokio::test(start_paused = true)]
async fn uneven_shards_reach_full_throughput() {
    for shards in UNEVEN_COUNTS {
        let stream = stream_of(shards);
        let records = stream::repeat_with(|| Record::from(vec![b'.'; 100]));
        let stats = send(&stream, Aggregation::Off, records).await;
        let rate = stats.accepted_entries / SECONDS;
        assert!(rate >= 950 * shards as u64, "{shards} shards: {rate} records/s");
    }
}

#[tokio::test(start_paused = true)]
async fn border_hash_keys_need_at_most_two_listings() {
    for shards in UNEVEN_COUNTS {
        let stream = stream_of(shards);
        let start_keys = stream::iter(start_keys(&stream)).cycle();
        let records =
            start_keys.map(|start| Record::from(("k", "data")).with_explicit_hash_key(start));
        let stats = send(&stream, Aggregation::Off, records).await;
        // A response that arrives before the first listing can cause a second listing.
        assert!(stats.listings <= 2, "{shards} shards: {} listings", stats.listings);
        assert!(stats.throttled_entries * 20 <= stats.entries, "{shards} shards: {stats:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn border_aggregates_are_rarely_throttled() {
    for shards in UNEVEN_COUNTS {
        let stream = stream_of(shards);
        let start_keys = start_keys(&stream).into_iter().map(HashKey::get);
        let places = start_keys.flat_map(|start| [start.wrapping_sub(1), start]);
        let load = Load {
            seed: 1,
            rate: 1_500.0 * shards as f64,
            keys: Keys::drawn(100),
            without_hot: false,
            producers: 1,
            producer: 0,
            record_bytes: RECORD_BYTES,
        };
        let source = Source::new(load, Duration::from_secs(2 * SECONDS));
        let records = source.zip(stream::iter(places).cycle());
        let records =
            records.map(|(offered, place)| offered.record().with_explicit_hash_key(place));
        let stats = send(&stream, Aggregation::PerShard, records).await;
        assert_eq!(stats.listings, 1, "{shards} shards");
        assert!(stats.throttled_entries * 20 <= stats.entries, "{shards} shards: {stats:?}");
    }
}
