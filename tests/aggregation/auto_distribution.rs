//! Tests that switch a stream to AUTO distribution while a sink sends records. An AUTO stream ignores partition keys.
#![cfg(feature = "sim")]

use std::collections::{HashMap, HashSet};
use std::future::{pending, ready};
use std::sync::Arc;
use std::sync::atomic::{self, AtomicUsize};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, SinkExt};
use kinesis_sink::aggregate::deaggregate;
use kinesis_sink::service::PutRecordsError;
use kinesis_sink::settings::FatalPolicy;
use kinesis_sink::shard::{HashRange, Shard, hash_of};
use kinesis_sink::sim::SimStream;
use kinesis_sink::stream::{
    Distribution, StreamDescription, StreamInfo, StreamMode, describe_stream_fn,
};
use kinesis_sink::{
    Aggregation, Error, ErrorKind, KinesisSink, Receipt, Record, RecordOrdering, SinkBuilder,
    StreamId,
};
use tokio::time::{sleep, timeout};
use tower::BoxError;

const RECORDS: usize = 20_000;

fn stream() -> SimStream {
    SimStream::builder().with_shards(4).with_seed(1).build().unwrap()
}

fn builder(aggregation: Aggregation) -> SinkBuilder {
    KinesisSink::builder("example")
        .configure(|settings| settings.seed = Some(1))
        .with_aggregation(aggregation)
}

fn record(number: usize, keys: usize) -> Record {
    Record::from((format!("key-{}", number % keys), format!("{number:06}")))
}

/// Reads the stream like the KCL, which discards an aggregate if any member is outside the shard's hash range.
fn found(stream: &SimStream) -> HashSet<usize> {
    let ranges: HashMap<String, HashRange> =
        stream.shards().iter().map(|shard| (shard.id().to_owned(), shard.range())).collect();
    let mut found = HashSet::new();
    for written in stream.written() {
        let members: Vec<_> = deaggregate(written.data()).collect();
        let range = ranges[written.shard_id()];
        let packed = members.iter().all(|member| member.sub_sequence_number().is_some());
        let fits = |key: &str| range.contains(hash_of(key));
        if packed && !members.iter().all(|member| fits(member.partition_key().unwrap())) {
            continue;
        }
        let number = |data: &[u8]| std::str::from_utf8(data).unwrap().parse::<usize>().unwrap();
        found.extend(members.iter().map(|member| number(member.data())));
    }
    found
}

/// Switches the stream to AUTO after 30 % of the records. Returns the numbers of lost and of delivered records, and the
/// first error. A lost record is reported as delivered, but a KCL consumer does not receive it.
async fn send_through_switch(
    stream: &SimStream,
    mut sink: KinesisSink,
    records: usize,
    keys: usize,
) -> (usize, usize, Option<Error>) {
    let mut receipts: Vec<Receipt> = Vec::new();
    let mut error = None;
    for number in 0..records {
        if number == records * 3 / 10 {
            error = sink.flush().await.err();
            stream.set_distribution(Distribution::Auto).unwrap();
        }
        let (record, receipt) = record(number, keys).tracked();
        if error.is_none() {
            error = sink.feed(record).await.err();
        }
        receipts.push(receipt);
        if number % 1_000 == 0 {
            sleep(Duration::from_millis(50)).await;
        }
    }
    if error.is_none() {
        error = sink.close().await.err();
    }
    drop(sink);
    let found = found(stream);
    let mut lost = 0;
    let mut delivered = 0;
    for (number, receipt) in receipts.into_iter().enumerate() {
        if receipt.await.is_ok() {
            delivered += 1;
            lost += usize::from(!found.contains(&number));
        }
    }
    (lost, delivered, error)
}

#[tokio::test(start_paused = true)]
async fn switch_to_auto_does_not_lose_records() {
    for (aggregation, keys) in [
        (Aggregation::PerKey, 10),
        (Aggregation::PerKey, 1_000),
        (Aggregation::PerShard, 10),
        (Aggregation::PerShard, 1_000),
    ] {
        for ordering in [RecordOrdering::Unordered, RecordOrdering::PerKey] {
            let stream = stream();
            let sink = builder(aggregation).with_ordering(ordering);
            let sink = sink.build(&stream.client()).unwrap();
            let (lost, delivered, error) = send_through_switch(&stream, sink, RECORDS, keys).await;
            let case = format!("{aggregation:?} {keys} {ordering:?}: {lost} of {delivered}");
            assert_eq!(lost, 0, "{case}");
            assert!((6_000..7_500).contains(&delivered), "{case}");
            assert_refused(error, "switch aggregation off");
            assert_eq!(stream.stats().descriptions, 2, "{case}");
        }
    }
}

fn assert_refused(error: Option<Error>, fix: &str) {
    let error = error.expect("no error");
    assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
    let text = std::error::Error::source(&error).unwrap().to_string();
    assert!(text.contains("AUTO") && text.contains(fix), "{text}");
}

#[tokio::test(start_paused = true)]
async fn ordered_sink_rejects_switch_to_auto() {
    let stream = stream();
    let sink = builder(Aggregation::Off).with_ordering(RecordOrdering::PerKey);
    let sink = sink.build(&stream.client()).unwrap();
    let (_, delivered, error) = send_through_switch(&stream, sink, RECORDS, 1_000).await;
    assert_refused(error, "set the ordering to Unordered");
    assert!((6_000..7_500).contains(&delivered), "{delivered}");
    assert_eq!(stream.stats().descriptions, 2);
}

#[tokio::test(start_paused = true)]
async fn ordered_sink_rejects_auto_stream() {
    let stream = stream();
    stream.set_distribution(Distribution::Auto).unwrap();
    let ordered = builder(Aggregation::Off).with_ordering(RecordOrdering::PerKey);
    let mut sink = ordered.build(&stream.client()).unwrap();
    assert_refused(sink.feed(record(0, 1)).await.err(), "set the ordering to Unordered");
    assert_eq!(stream.stats().requests, 0);
    // The count stays at 1, because a sink without ordering and aggregation does not describe the stream.
    let mut sink = KinesisSink::new(&stream.client(), "example").unwrap();
    sink.send(record(0, 1)).await.unwrap();
    assert_eq!(stream.stats().descriptions, 1);
}

/// Describes the stream in every third call, starting with the first. All other calls fail or never complete.
#[derive(Clone)]
struct Unreliable {
    stream: SimStream,
    calls: Arc<AtomicUsize>,
    /// Error code of the calls that fail, or `None` if these calls never complete.
    code: Option<&'static str>,
}

impl StreamInfo for Unreliable {
    fn describe_stream(
        &self,
        stream: &StreamId,
    ) -> Option<BoxFuture<'static, Result<StreamDescription, BoxError>>> {
        if self.calls.fetch_add(1, atomic::Ordering::Relaxed).is_multiple_of(3) {
            return self.stream.describe_stream(stream);
        }
        let Some(code) = self.code else { return Some(pending().boxed()) };
        let error = PutRecordsError::service(Some(code), None, Some(400));
        Some(ready(Err(error.into())).boxed())
    }

    fn list_shards(
        &self,
        stream: &StreamId,
    ) -> Option<BoxFuture<'static, Result<Vec<Shard>, BoxError>>> {
        self.stream.list_shards(stream)
    }
}

#[tokio::test(start_paused = true)]
async fn distribution_changes_do_not_lose_records() {
    for code in [Some("LimitExceededException"), Some("AccessDeniedException"), None] {
        for aggregation in [Aggregation::PerKey, Aggregation::PerShard] {
            let stream = stream();
            let describer = Unreliable { stream: stream.clone(), calls: Arc::default(), code };
            let producer = builder(aggregation)
                .with_ordering(RecordOrdering::PerKey)
                .configure(|settings| settings.fatal_policy = FatalPolicy::Retry)
                .with_stream_info(describer)
                .build_with(stream.service())
                .unwrap()
                .spawn();
            let mut receipts = Vec::new();
            for number in 0..1_000 {
                match number % 200 {
                    100 => stream.set_distribution(Distribution::Auto).unwrap(),
                    0 => stream.set_distribution(Distribution::UserPartitionKey).unwrap(),
                    _ => {}
                }
                // The sink rejects records while it considers the stream to be AUTO.
                if let Ok(receipt) = producer.put(record(number, 50)).await {
                    receipts.push((number, receipt));
                }
                sleep(Duration::from_millis(20)).await;
            }
            stream.set_distribution(Distribution::UserPartitionKey).unwrap();
            let closed = timeout(Duration::from_secs(300), producer.close()).await;
            closed.expect("close did not complete").unwrap();
            let found = found(&stream);
            for (number, receipt) in receipts {
                receipt.await.unwrap();
                assert!(found.contains(&number), "{code:?} {aggregation:?}: {number} is lost");
            }
        }
    }
}

fn denied() -> impl StreamInfo + 'static {
    describe_stream_fn(|_| async {
        let denied = PutRecordsError::service(Some("AccessDeniedException"), None, Some(400));
        Err(denied.into())
    })
}

fn without_listing(stream: &SimStream) -> impl StreamInfo + 'static {
    let stream = stream.clone();
    describe_stream_fn(move |id| {
        stream.describe_stream(&id).expect("the simulation describes streams")
    })
}

#[tokio::test(start_paused = true)]
async fn switch_without_description_loses_no_records() {
    for aggregation in [Aggregation::PerKey, Aggregation::PerShard] {
        let stream = stream();
        let ordered = builder(aggregation).with_ordering(RecordOrdering::PerKey);
        let builders = [
            builder(aggregation).configure(|settings| settings.describe_stream = false),
            builder(aggregation).with_stream_info(denied()),
            ordered.configure(|settings| settings.describe_stream = false),
        ];
        for (round, builder) in builders.into_iter().enumerate() {
            let sink = builder.build(&stream.client()).unwrap();
            let (lost, delivered, error) = send_through_switch(&stream, sink, 4_000, 10).await;
            assert_eq!((lost, delivered), (0, 4_000), "{aggregation:?} {round}: {error:?}");
            stream.set_distribution(Distribution::UserPartitionKey).unwrap();
        }
        let written = stream.written().len();
        assert!(written < 9 * 4_000, "{aggregation:?}: {written} Kinesis records");
    }
}

#[tokio::test(start_paused = true)]
async fn sink_resumes_after_switch_to_auto_and_back() {
    let stream = stream();
    let mut sink = builder(Aggregation::PerKey).build(&stream.client()).unwrap();
    for number in 0..4_000 {
        sink.feed(record(number, 10)).await.unwrap();
    }
    sink.flush().await.unwrap();
    stream.set_distribution(Distribution::Auto).unwrap();
    let mut error = None;
    for number in 4_000..8_000 {
        if let Err(refused) = sink.feed(record(number, 10)).await {
            error = Some(refused);
            break;
        }
    }
    let error = match error {
        None => sink.flush().await.err(),
        refused => refused,
    };
    assert_refused(error, "switch aggregation off");
    let accepted = usize::try_from(sink.totals().accepted).unwrap();
    stream.set_distribution(Distribution::UserPartitionKey).unwrap();
    sink.flush().await.unwrap();
    assert_eq!(sink.totals().delivered, accepted as u64);
    let found = found(&stream);
    assert!((0..accepted).all(|number| found.contains(&number)));
}

#[tokio::test(start_paused = true)]
async fn resharding_does_not_describe_stream_again() {
    for mode in [StreamMode::Provisioned, StreamMode::OnDemand] {
        for aggregation in [Aggregation::PerKey, Aggregation::PerShard, Aggregation::Off] {
            let stream = SimStream::builder().with_shards(4).with_seed(1).with_mode(mode);
            let stream = stream.build().unwrap();
            let sink = builder(aggregation).with_ordering(RecordOrdering::PerKey);
            let mut sink = sink.build(&stream.client()).unwrap();
            for number in 0..RECORDS {
                sink.feed(record(number, 1_000)).await.unwrap();
                if number % 2_000 == 500 {
                    reshard(&stream, number / 2_000);
                }
            }
            sink.close().await.unwrap();
            let stats = stream.stats();
            assert_eq!(stats.descriptions, 1, "{mode:?} {aggregation:?}: {stats:?}");
        }
    }
}

fn reshard(stream: &SimStream, turn: usize) {
    let shards = stream.shards();
    match turn % 3 {
        0 => stream.split(shards[turn % shards.len()].id()).unwrap(),
        1 => stream.merge(shards[0].id(), shards[1].id()).unwrap(),
        _ => stream.update_shard_count(2 + turn).unwrap(),
    }
}

#[tokio::test(start_paused = true)]
async fn descriptions_are_bounded_without_listing() {
    for (mode, most) in [(StreamMode::Provisioned, 1), (StreamMode::OnDemand, 11)] {
        let stream = SimStream::builder().with_shards(4).with_seed(1).with_mode(mode);
        let stream = stream.build().unwrap();
        let builder = builder(Aggregation::PerKey).with_stream_info(without_listing(&stream));
        let mut sink = builder.build_with(stream.service()).unwrap();
        for number in 0..RECORDS {
            sink.feed(record(number, 100)).await.unwrap();
            if number % 2_000 == 500 {
                reshard(&stream, number / 2_000);
            }
        }
        sink.close().await.unwrap();
        assert_eq!(sink.totals().misplaced, 0);
        let stats = stream.stats();
        assert!((1..=most).contains(&stats.descriptions), "{mode:?}: {stats:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn switch_to_auto_is_detected_without_listing() {
    let stream = stream();
    let builder = builder(Aggregation::PerKey).with_stream_info(without_listing(&stream));
    let mut sink = builder.build_with(stream.service()).unwrap();
    let mut receipts = Vec::new();
    let mut error = None;
    for number in 0..RECORDS {
        if number == RECORDS / 2 {
            sink.flush().await.unwrap();
            stream.set_distribution(Distribution::Auto).unwrap();
        }
        let (record, receipt) = record(number, 10).tracked();
        receipts.push(receipt);
        error = sink.feed(record).await.err();
        if error.is_some() {
            break;
        }
    }
    if error.is_none() {
        error = sink.close().await.err();
    }
    assert_refused(error, "switch aggregation off");
    drop(sink);
    let found = found(&stream);
    for (number, receipt) in receipts.into_iter().enumerate() {
        assert!(receipt.await.is_err() || found.contains(&number), "{number} is lost");
    }
}
