//! Tests of the metrics of a sink and of its requests.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::{SinkExt, StreamExt, stream};
use kinesis_sink::metrics::MetricsGranularity;
use kinesis_sink::service::{EntryError, PutRecordsResponse};
use kinesis_sink::settings::Linger;
use kinesis_sink::{Aggregation, KinesisSink, Record, SinkBuilder};
use tokio::time::{sleep, timeout};

use crate::recorder::Recorded;
use crate::support::mock_service;
use crate::support::mock_service::{MockService, answer_each, records, unpaced};

pub fn builder() -> SinkBuilder {
    KinesisSink::builder("example").configure(|settings| {
        settings.limits = unpaced();
        settings.seed = Some(1);
    })
}

fn thousandths<const N: usize>(counts: [(u64, usize); N]) -> BTreeMap<u64, usize> {
    BTreeMap::from(counts)
}

#[tokio::test(start_paused = true)]
async fn retried_record_is_counted_once() {
    let recorder = Recorded::install();
    let service = MockService::new(|call, request| match call {
        0 => Ok(answer_each(request, |place| place >= 25)),
        _ => Ok(answer_each(request, |_| true)),
    });
    let mut sink = builder().build_with(service).unwrap();
    sink.send_all(&mut stream::iter(records(0..500).map(Ok))).await.unwrap();

    assert_eq!(recorder.counter("user_records_received"), 500);
    assert_eq!(recorder.counter("user_records_put"), 500);
    assert_eq!(recorder.counter("user_records_data_put"), sink.totals().delivered_bytes);
    assert_eq!(recorder.counter("kinesis_records_data_put"), sink.totals().entry_bytes);
    assert_eq!(recorder.counter("user_records_withdrawn"), 0);
    assert_eq!(recorder.histogram("retries_per_record"), thousandths([(0, 475), (1_000, 25)]));
    assert_eq!(
        recorder.histogram("user_records_per_put_records_request"),
        thousandths([(25_000, 1), (500_000, 1)])
    );
    assert_eq!(recorder.histogram("user_records_per_kinesis_record"), thousandths([(1_000, 525)]));
}

#[tokio::test(start_paused = true)]
async fn buffering_and_delivery_times_are_recorded() {
    let recorder = Recorded::install();
    let mut sink = builder().build_with(MockService::delivering()).unwrap();
    sink.feed(Record::from("one")).await.unwrap();
    sleep(Duration::from_millis(7)).await;
    sink.feed(Record::from("two")).await.unwrap();
    sleep(Duration::from_millis(5)).await;
    sink.flush().await.unwrap();

    assert_eq!(recorder.histogram("buffering_time"), thousandths([(12, 1), (5, 1)]));
    // The round trip of 20 ms is added to the buffering time.
    assert_eq!(recorder.histogram("delivery_time"), thousandths([(32, 1), (25, 1)]));
}

#[tokio::test(start_paused = true)]
async fn retried_record_has_one_buffering_time() {
    let recorder = Recorded::install();
    let service = MockService::failing(2, "InternalFailure");
    let mut sink = builder().build_with(service).unwrap();
    sink.send(Record::from("one")).await.unwrap();

    assert_eq!(recorder.histogram("buffering_time"), thousandths([(0, 1)]));
    assert_eq!(recorder.histogram("retries_per_record"), thousandths([(2_000, 1)]));
    assert_eq!(recorder.histogram("delivery_time").values().sum::<usize>(), 1);
}

#[tokio::test(start_paused = true)]
async fn gauges_show_pending_records_and_age() {
    let recorder = Recorded::install();
    let slow = MockService::delivering().with_round_trip(Duration::from_secs(9));
    let mut sink = builder().with_max_in_flight(1).build_with(slow).unwrap();
    sink.feed(Record::from(("k", "123456789"))).await.unwrap();
    assert!(timeout(Duration::from_secs(3), sink.flush()).await.is_err());
    sink.feed(Record::from(("k", "123456789"))).await.unwrap();
    assert!(timeout(Duration::from_secs(1), sink.flush()).await.is_err());

    assert_eq!(recorder.gauge("user_records_pending"), 2.0);
    assert_eq!(recorder.gauge("buffered_bytes"), 20.0);
    // The sink last updated this gauge when the flush timed out, because it updates the gauge only while it is polled.
    assert_eq!(recorder.gauge("oldest_record_age"), 4.0);

    sink.flush().await.unwrap();
    for gauge in ["user_records_pending", "buffered_bytes", "oldest_record_age"] {
        assert_eq!(recorder.gauge(gauge), 0.0, "{gauge}");
    }
}

#[tokio::test(start_paused = true)]
async fn sinks_of_one_stream_share_gauges() {
    let recorder = Recorded::install();
    let mut sinks = [1, 2].map(|_| {
        let stuck = MockService::delivering().with_round_trip(Duration::from_secs(3_600));
        builder().build_with(stuck).unwrap()
    });
    for sink in &mut sinks {
        sink.feed(Record::from(("k", "123"))).await.unwrap();
        assert!(timeout(Duration::from_secs(1), sink.flush()).await.is_err());
    }
    assert_eq!(recorder.gauge("user_records_pending"), 2.0);
    assert_eq!(recorder.gauge("buffered_bytes"), 8.0);

    let [mut first, second] = sinks;
    assert_eq!(first.take_undelivered().len(), 1);
    assert_eq!(recorder.gauge("user_records_pending"), 1.0);
    assert_eq!(recorder.gauge("oldest_record_age"), 0.0);
    drop(second);
    assert_eq!(recorder.gauge("user_records_pending"), 0.0);
    assert_eq!(recorder.gauge("buffered_bytes"), 0.0);
    assert_eq!(recorder.counter("user_records_withdrawn"), 2);
    assert_eq!(recorder.counter("user_records_received"), 2);
}

#[tokio::test(start_paused = true)]
async fn flushes_are_counted_by_reason() {
    let recorder = Recorded::install();
    let flushes =
        |reason| recorder.counter_of("put_records_requests_flushed", &[("reason", reason)]);

    let mut sink = builder().build_with(MockService::delivering()).unwrap();
    sink.send(Record::from("alone")).await.unwrap();
    assert_eq!(flushes("idle"), 1);
    sink.send_all(&mut stream::iter(records(0..500).map(Ok))).await.unwrap();
    assert_eq!(flushes("full"), 1);
    sink.feed(Record::from("last")).await.unwrap();
    sink.close().await.unwrap();
    assert_eq!(flushes("close"), 1);

    let fill = Linger::Fixed(Duration::from_millis(50));
    let mut sink = builder().with_linger(fill).build_with(MockService::delivering()).unwrap();
    sink.send(Record::from("alone")).await.unwrap();
    assert_eq!(flushes("linger"), 1);

    let small =
        builder().configure(|settings| settings.buffer_records = Some(10)).with_linger(fill);
    let mut sink = small.build_with(MockService::delivering()).unwrap();
    for record in records(0..11) {
        sink.feed(record).await.unwrap();
    }
    assert_eq!(flushes("backpressure"), 1);

    let service = MockService::new(|call, request| match call {
        0 => Err(mock_service::service_error("ValidationException")),
        _ => Ok(answer_each(request, |_| true)),
    });
    let mut sink = builder().build_with(service).unwrap();
    sink.send_all(&mut stream::iter(records(0..2).map(Ok))).await.unwrap();
    assert_eq!(flushes("bisected"), 2);
}

#[tokio::test(start_paused = true)]
async fn failures_are_counted_by_reason() {
    let recorder = Recorded::install();
    let rejecting = MockService::new(|_, request| {
        let no = |_: &_| Err(EntryError::new("InvalidArgumentException", "no"));
        Ok(PutRecordsResponse::new(request.entries().iter().map(no).collect()))
    });
    let mut sink = builder().build_with(rejecting).unwrap();
    sink.send(Record::from("bad")).await.unwrap_err();

    let single_attempt = builder().configure(|settings| settings.max_attempts = Some(1));
    let mut sink = single_attempt.build_with(MockService::failing(9, "InternalFailure")).unwrap();
    sink.send(Record::from("unlucky")).await.unwrap_err();

    let short_deadline = builder().with_deadline(Duration::from_secs(1));
    let mut sink = short_deadline.build_with(MockService::failing(99, "InternalFailure")).unwrap();
    sink.send(Record::from("late")).await.unwrap_err();

    let refusing = MockService::failing(9, "AccessDeniedException");
    let producer = builder().build_with(refusing).unwrap().spawn();
    producer.put(Record::from("nowhere")).await.unwrap().await.unwrap_err();
    producer.close().await.unwrap_err();

    for reason in ["rejected", "attempts_exhausted", "deadline_exceeded", "refused"] {
        assert_eq!(
            recorder.counter_of("user_records_failed", &[("reason", reason)]),
            1,
            "{reason}"
        );
    }
    assert_eq!(recorder.counter("user_records_received"), 4);
    assert_eq!(recorder.gauge("user_records_pending"), 0.0);
}

#[tokio::test(start_paused = true)]
async fn aggregates_count_as_one_kinesis_record() {
    let recorder = Recorded::install();
    let aggregating = builder().with_aggregation(Aggregation::PerKey);
    let mut sink = aggregating.build_with(MockService::delivering()).unwrap();
    let records = (0..100).map(|number| Ok(Record::from(("key", number.to_string()))));
    stream::iter(records).forward(&mut sink).await.unwrap();

    assert_eq!(recorder.histogram("user_records_per_kinesis_record"), thousandths([(100_000, 1)]));
    assert_eq!(recorder.counter("user_records_put"), 100);
    assert_eq!(recorder.counter("kinesis_records_data_put"), sink.totals().entry_bytes);
    assert_eq!(recorder.histogram("delivery_time").values().sum::<usize>(), 100);
}

#[tokio::test(start_paused = true)]
async fn granularity_off_records_nothing() {
    let recorder = Recorded::install();
    let off = builder().configure(|settings| settings.metrics = MetricsGranularity::Off);
    let mut sink = off.build_with(MockService::delivering()).unwrap();
    sink.send(Record::from("one")).await.unwrap();
    drop(sink);
    assert_eq!(recorder.names(), BTreeMap::new());
}
