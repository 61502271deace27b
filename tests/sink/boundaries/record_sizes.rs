//! Tests of records whose size equals a limit (up to 10 MiB) or exceeds it by one byte.

use bytes::Bytes;
use futures::SinkExt;
use kinesis_sink::aggregate::deaggregate;
use kinesis_sink::limits::{DEFAULT_RECORD_BYTES, Limits, MAX_RECORD_BYTES, MAX_REQUEST_BYTES};
use kinesis_sink::record::FailureReason;
use kinesis_sink::sim::{SimService, SimStream};
use kinesis_sink::{Aggregation, ErrorKind, KinesisSink, Record, SinkBuilder};

use super::encodings::ENCODINGS;

const KEY: &str = "key";

fn stream() -> SimStream {
    let builder = SimStream::builder().with_shards(2).with_seed(1);
    builder.with_max_record_bytes(MAX_RECORD_BYTES).build().unwrap()
}

fn builder() -> SinkBuilder {
    let limits = Limits::default().with_request_bytes(MAX_REQUEST_BYTES);
    let limits = limits.with_record_bytes(MAX_RECORD_BYTES);
    KinesisSink::builder("example").configure(|settings| {
        settings.seed = Some(1);
        settings.limits = limits;
    })
}

fn sink(kinesis: &SimStream, builder: SinkBuilder) -> KinesisSink<SimService> {
    builder.build_with(kinesis.service()).unwrap()
}

/// Returns a record of `bytes` bytes, including the partition key.
fn record(bytes: usize) -> Record {
    Record::from((KEY, Bytes::from(vec![bytes as u8; bytes - KEY.len()])))
}

fn sizes(kinesis: &SimStream) -> Vec<usize> {
    kinesis.written().iter().map(|written| written.size()).collect()
}

#[tokio::test(start_paused = true)]
async fn max_record_size_is_enforced() {
    let kinesis = stream();
    let mut sink = sink(&kinesis, builder());
    sink.feed(record(MAX_RECORD_BYTES)).await.unwrap();
    let large = record(MAX_RECORD_BYTES + 1);
    let refused = sink.feed(large.clone()).await.unwrap_err();
    assert_eq!(refused.into_record(), Some(large.clone()));
    sink.flush().await.unwrap();
    let producer = sink.spawn();
    let refused = producer.put(large).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::RecordTooLarge);
    let bytes = MAX_RECORD_BYTES + 1;
    let expected = format!(
        "record is {bytes} bytes with its partition key; split it to at most {MAX_RECORD_BYTES},"
    );
    assert!(refused.to_string().starts_with(&expected), "{refused}");
    producer.put(record(MAX_RECORD_BYTES)).await.unwrap().await.unwrap();
    producer.close().await.unwrap();
    assert_eq!(sizes(&kinesis), [MAX_RECORD_BYTES; 2]);
}

#[tokio::test(start_paused = true)]
async fn largest_record_arrives_unchanged() {
    for &encoding in ENCODINGS {
        let kinesis = stream();
        let mut sink = encoding.sink(&kinesis, builder());
        let mut payload = vec![0; MAX_RECORD_BYTES - KEY.len()];
        fastrand::Rng::with_seed(1).fill(&mut payload);
        let payload = Bytes::from(payload);
        sink.send(Record::from((KEY, payload.clone()))).await.unwrap();
        assert!(payload == kinesis.written()[0].data(), "{encoding:?}: payload differs");
    }
}

#[tokio::test(start_paused = true)]
async fn described_stream_sets_record_limit() {
    for limit in [1_024, DEFAULT_RECORD_BYTES, MAX_RECORD_BYTES] {
        let kinesis = SimStream::builder().with_max_record_bytes(limit).build().unwrap();
        let builder = KinesisSink::builder("example").with_stream_info(kinesis.clone());
        let mut sink = sink(&kinesis, builder);
        // The sink sends a record alone if it exceeds the default request size.
        for size in [100, limit, 100, limit] {
            sink.feed(record(size)).await.unwrap();
        }
        let refused = sink.feed(record(limit + 1)).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::RecordTooLarge);
        let bytes = limit + 1;
        let expected =
            format!("record is {bytes} bytes with its partition key; split it to at most {limit},");
        assert!(refused.to_string().starts_with(&expected), "{refused}");
        sink.close().await.unwrap();
        assert_eq!(sink.limits().record_bytes(), limit);
        let mut written = sizes(&kinesis);
        written.sort_unstable();
        assert_eq!(written, [100, 100, limit, limit]);
    }
}

#[tokio::test(start_paused = true)]
async fn large_and_small_records_are_delivered() {
    let kinesis = stream();
    let mut sink = sink(&kinesis, builder());
    let small = MAX_REQUEST_BYTES / 20;
    for size in [MAX_RECORD_BYTES].into_iter().chain([small; 20]).chain([MAX_RECORD_BYTES]) {
        sink.feed(record(size)).await.unwrap();
    }
    sink.close().await.unwrap();
    assert_eq!((sink.totals().delivered, kinesis.written().len()), (22, 22));
    assert!(kinesis.stats().requests >= 3);
}

#[tokio::test(start_paused = true)]
async fn tiny_buffer_accepts_one_large_record() {
    for bytes in [1, 1_000, MAX_RECORD_BYTES - 1] {
        let kinesis = stream();
        let mut owned =
            sink(&kinesis, builder().configure(|settings| settings.buffer_bytes = bytes));
        for _ in 0..3 {
            owned.feed(record(MAX_RECORD_BYTES)).await.unwrap();
            let buffered = owned.status().buffered();
            assert!(buffered.bytes < bytes + MAX_RECORD_BYTES, "{buffered:?}");
        }
        owned.close().await.unwrap();
        let producer =
            sink(&kinesis, builder().configure(|settings| settings.buffer_bytes = bytes)).spawn();
        for _ in 0..3 {
            producer.send(record(MAX_RECORD_BYTES)).await.unwrap();
        }
        producer.close().await.unwrap();
        assert_eq!(sizes(&kinesis), [MAX_RECORD_BYTES; 6]);
    }
}

/// For two members of about 5 MiB each, excluding the payloads. The length field of such a payload has four bytes.
const AGGREGATE_OVERHEAD: usize = 20 + (2 + KEY.len()) + 2 * (1 + 4 + 2 + 1 + 4) + KEY.len();

#[tokio::test(start_paused = true)]
async fn aggregate_fills_record_limit_exactly() {
    let half = (MAX_RECORD_BYTES - AGGREGATE_OVERHEAD) / 2;
    let rest = MAX_RECORD_BYTES - AGGREGATE_OVERHEAD - half;
    for aggregation in [Aggregation::PerKey, Aggregation::PerShard] {
        for (second, expected) in [
            (rest, vec![MAX_RECORD_BYTES]),
            (rest + 1, vec![KEY.len() + half, KEY.len() + rest + 1]),
        ] {
            let kinesis = stream();
            let builder = builder().with_aggregation(aggregation).with_stream_info(kinesis.clone());
            let mut sink = sink(
                &kinesis,
                builder.configure(|settings| settings.aggregate_bytes = MAX_RECORD_BYTES),
            );
            for payload in [half, second] {
                sink.feed(record(KEY.len() + payload)).await.unwrap();
            }
            sink.close().await.unwrap();
            assert_eq!(sizes(&kinesis), expected, "{aggregation:?}");
            let written = kinesis.written();
            let members = written.iter().flat_map(|one| deaggregate(one.data()));
            let lengths: Vec<_> = members.map(|member| member.data().len()).collect();
            assert_eq!(lengths, [half, second]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn largest_record_is_not_aggregated() {
    let kinesis = stream();
    let builder = builder().with_aggregation(Aggregation::PerKey);
    let mut sink =
        sink(&kinesis, builder.configure(|settings| settings.aggregate_bytes = MAX_RECORD_BYTES));
    for size in [100, MAX_RECORD_BYTES, 100, 100] {
        sink.feed(record(size)).await.unwrap();
    }
    sink.close().await.unwrap();
    assert!(sizes(&kinesis).contains(&MAX_RECORD_BYTES), "{:?}", sizes(&kinesis));
    assert_eq!(sink.totals().delivered, 4);
}

#[tokio::test(start_paused = true)]
async fn record_over_stream_limit_fails_alone() {
    // The sink accepts records of up to 10 MiB, but the stream only records of up to 1 MiB.
    let kinesis = SimStream::builder().with_shards(2).with_seed(1).build().unwrap();
    let mut sink = sink(&kinesis, builder());
    for size in [100, DEFAULT_RECORD_BYTES + 1, 200, MAX_RECORD_BYTES, DEFAULT_RECORD_BYTES] {
        sink.feed(record(size)).await.unwrap();
    }
    assert!(sink.close().await.is_err());
    let failed = sink.take_failed();
    let refused: Vec<_> = failed.iter().map(|one| one.record().size()).collect();
    assert_eq!(refused, [DEFAULT_RECORD_BYTES + 1, MAX_RECORD_BYTES]);
    assert!(failed.iter().all(|one| matches!(one.reason(), FailureReason::Rejected(_))));
    let mut written = sizes(&kinesis);
    written.sort_unstable();
    assert_eq!(written, [100, 200, DEFAULT_RECORD_BYTES]);
}
