//! Bisection of requests that fail repeatedly, so that a poison record does not delay other records.
#![cfg(feature = "sim")]

use std::time::Duration;

use futures::SinkExt;
use kinesis_sink::sim::{Faults, Latency, SimBuilder, SimStream};
use kinesis_sink::{Aggregation, KinesisSink, Record, RecordOrdering, SinkBuilder};
use tokio::time::{Instant, sleep, timeout, timeout_at};

const POISON: &str = "poison";

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn stream(builder: SimBuilder) -> SimStream {
    builder.with_seed(1).with_shard_quota(1_000_000, 1 << 30).build().unwrap()
}

fn build(stream: &SimStream, builder: SinkBuilder) -> KinesisSink {
    builder.configure(|settings| settings.seed = Some(1)).build(&stream.client()).unwrap()
}

fn record(number: usize) -> Record {
    Record::from((format!("key-{}", number % 100), format!("{number:08}")))
}

/// Feeds and flushes records for at most `limit`, and returns when `limit` has passed. Record `poisoned` contains
/// [`POISON`].
async fn feed<S>(sink: &mut S, numbers: std::ops::Range<usize>, poisoned: usize, limit: Duration)
where
    S: SinkExt<Record, Error = kinesis_sink::Error> + Unpin,
{
    let until = Instant::now() + limit;
    let work = async {
        for number in numbers {
            let record = if number == poisoned {
                Record::from((format!("key-{}", number % 100), POISON))
            } else {
                record(number)
            };
            sink.feed(record).await?;
        }
        sink.flush().await
    };
    match timeout_at(until, work).await {
        Ok(Err(error)) => panic!("{error}"),
        Ok(Ok(())) | Err(_) => sleep(until - Instant::now()).await,
    }
}

/// Error codes and HTTP statuses of the failed requests. A response that a proxy generates has no code.
const REQUEST_FAULTS: [(Option<&str>, u16); 3] =
    [(Some("InternalFailure"), 500), (None, 403), (None, 503)];

#[tokio::test(start_paused = true)]
async fn slow_link_delivers_with_defaults() {
    // 32,000 bytes/s are 256 kbit/s.
    let stream = stream(SimStream::builder().with_bandwidth(32_000));
    let mut sink = build(&stream, KinesisSink::builder("example"));
    let began = Instant::now();
    let mut figures = Vec::new();
    let mut number = 0;
    while began.elapsed() < seconds(600) {
        let minute = timeout(seconds(100), async {
            loop {
                let data = vec![b'.'; 1_024];
                sink.feed(Record::from((format!("key-{}", number % 100), data))).await.unwrap();
                number += 1;
            }
        });
        let _: Result<(), _> = minute.await;
        figures.push((sink.totals().delivered, stream.stats().accepted_entries));
    }
    println!("delivered and written after 100, 200, .. s: {figures:?}");
    assert!(figures[0].0 >= 500, "{figures:?}");
    // The link can carry 2,200 records in 100 s.
    let (delivered, written) = figures[5];
    assert!(delivered - figures[0].0 > 5 * 1_400, "{figures:?}");
    assert!(written - delivered < 1_000, "duplicates: {figures:?}");
}

#[tokio::test(start_paused = true)]
async fn late_responses_cause_few_duplicates() {
    let stream = stream(SimStream::builder().with_latency(Latency::constant(seconds(11))));
    let mut sink = build(&stream, KinesisSink::builder("example"));
    for number in 0..100 {
        sink.feed(record(number)).await.unwrap();
    }
    let flushed = timeout(seconds(3_600), sink.flush()).await;
    let (delivered, written) = (sink.totals().delivered, stream.stats().accepted_entries);
    println!("{delivered} of 100 records delivered, {written} written");
    assert!(flushed.is_ok() && delivered == 100, "{delivered} delivered, {written} written");
    assert!(written <= 400, "{written}");
    // The sink keeps the longer request timeout, so later records are usually written only once.
    for number in 100..1_000 {
        sink.send(record(number)).await.unwrap();
        if number % 300 == 0 {
            sleep(seconds(30)).await;
        }
    }
    let written_now = stream.stats().accepted_entries - written;
    println!("900 more records, {written_now} written");
    assert!(written_now <= 950, "{written_now}");
}

#[tokio::test(start_paused = true)]
async fn poison_record_delays_no_other_record() {
    for (place, (code, status)) in REQUEST_FAULTS.into_iter().enumerate() {
        let positions: &[usize] = if place == 0 { &[0, 990, 10_990] } else { &[990] };
        for &position in positions {
            let faults = Faults::default().with_poisoned_requests(POISON, code, status);
            let stream = stream(SimStream::builder().with_shards(4).with_faults(faults));
            let mut sink = build(&stream, KinesisSink::builder("example"));
            let began = Instant::now();
            feed(&mut sink, 0..10_991, position, seconds(600)).await;
            assert!(began.elapsed() >= seconds(600));
            let totals = *sink.totals();
            println!("{code:?} {status}, at {position}: {totals:?}");
            assert_eq!(totals.delivered, 10_990, "{code:?} {status}, at {position}");
            assert_eq!(
                (totals.failed, sink.status().queued.records + sink.status().in_flight.records),
                (0, 1)
            );
            // The poison record is retried about once per half of the backoff ceiling.
            assert!(stream.stats().failed_requests < 1_000, "{:?}", stream.stats());
            stream.set_faults(Faults::default());
            timeout(seconds(10), sink.flush()).await.unwrap().unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn deadline_fails_only_poison_record() {
    for (code, status) in REQUEST_FAULTS {
        let faults = Faults::default().with_poisoned_requests(POISON, code, status);
        let stream = stream(SimStream::builder().with_shards(4).with_faults(faults));
        let (letters, failed) = std::sync::mpsc::channel();
        let builder = KinesisSink::builder("example")
            .with_deadline(seconds(60))
            .with_dead_letters(move |lost| letters.send(lost).unwrap());
        let mut sink = build(&stream, builder);
        feed(&mut sink, 0..10_991, 990, seconds(600)).await;
        let totals = *sink.totals();
        println!("{code:?} {status}: {totals:?}");
        assert_eq!((totals.delivered, totals.failed), (10_990, 1), "{code:?} {status}");
        let failed = failed.recv().unwrap();
        assert_eq!(failed.record().data(), POISON);
        assert!(failed.may_have_been_written());
    }
}

#[tokio::test(start_paused = true)]
async fn several_poison_records_delay_no_others() {
    let faults = Faults::default().with_poisoned_requests(POISON, Some("InternalFailure"), 500);
    let stream = stream(SimStream::builder().with_faults(faults));
    let mut sink = build(&stream, KinesisSink::builder("example"));
    for number in 0..5_000 {
        let is_poisoned = (1_000..1_020).contains(&number) || number % 500 == 0;
        let data = if is_poisoned { format!("{POISON}{number}") } else { number.to_string() };
        let fed = timeout(seconds(600), sink.feed(Record::from(data))).await;
        fed.expect("capacity within 10 minutes").unwrap();
    }
    assert!(timeout(seconds(120), sink.flush()).await.is_err());
    assert_eq!(sink.totals().delivered, 5_000 - 29);
}

/// Feeds records to an aggregating sink. The stream fails each entry that contains record 1,000.
async fn feed_aggregated(
    aggregation: Aggregation,
    ordering: RecordOrdering,
) -> (SimStream, KinesisSink) {
    let faults = Faults::default().with_poisoned_entries(POISON);
    let stream = stream(SimStream::builder().with_shards(2).with_faults(faults));
    let builder =
        KinesisSink::builder("example").with_aggregation(aggregation).with_ordering(ordering);
    let mut sink = build(&stream, builder);
    feed(&mut sink, 0..2_798, 1_000, seconds(120)).await;
    (stream, sink)
}

#[tokio::test(start_paused = true)]
async fn poison_member_delays_no_other_member() {
    for aggregation in [Aggregation::PerShard, Aggregation::PerKey] {
        let (stream, mut sink) = feed_aggregated(aggregation, RecordOrdering::Unordered).await;
        println!("{aggregation:?}: {:?}", sink.totals());
        assert_eq!(sink.totals().delivered, 2_797, "{aggregation:?}");
        stream.set_faults(Faults::default());
        timeout(seconds(10), sink.flush()).await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn poison_member_delays_only_its_key() {
    for aggregation in [Aggregation::PerShard, Aggregation::PerKey] {
        let (stream, mut sink) = feed_aggregated(aggregation, RecordOrdering::PerKey).await;
        println!("{aggregation:?}: {:?}", sink.totals());
        // Records of one of 100 keys wait behind the poison record.
        assert_eq!(sink.totals().delivered, 2_798 - 18, "{aggregation:?}");
        stream.set_faults(Faults::default());
        timeout(seconds(10), sink.flush()).await.unwrap().unwrap();
        assert_eq!(stream.stats().failed_requests, 0);
    }
}
