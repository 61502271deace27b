//! Tests of `Producer` as a handle to a single sink: it accepts records, returns receipts, and can be cloned.

use std::time::Duration;

use futures::{FutureExt, SinkExt, StreamExt, future, stream};
use kinesis_sink::record::FailureReason;
use kinesis_sink::settings::Linger;
use kinesis_sink::{Aggregation, ErrorKind, Producer, Record};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

use super::fixtures::{ROUND_TRIP, builder, produce, record};
use crate::support::mock_service;
use crate::support::mock_service::{MockService, answer_each, numbers, records};

#[test]
fn producer_and_its_futures_are_send() {
    fn assert<T: Clone + Send + Sync + Unpin>() {}
    fn assert_send<T: Send>(_: T) {}
    assert::<Producer>();
    let assert_futures_send = |producer: &Producer| {
        assert_send(producer.send(record(0)));
        assert_send(producer.put(record(0)));
        assert_send(producer.flush());
        assert_send(producer.take_failed());
        assert_send(producer.close());
        assert_send(producer.close_within(ROUND_TRIP));
    };
    let sink = builder().build_with(MockService::delivering()).unwrap();
    let (producer, driver) = sink.into_producer();
    assert_futures_send(&producer);
    assert_send(driver);
}

#[tokio::test(start_paused = true)]
async fn send_completes_once_record_is_accepted() {
    let service = MockService::delivering();
    let producer = produce(builder(), &service);
    producer.send(record(0)).now_or_never().expect("there is capacity").unwrap();
    assert_eq!(service.delivered().len(), 0);
    sleep(ROUND_TRIP * 2).await;
    assert_eq!(service.delivered(), ["0"], "delivered without a poll");
    let totals = producer.status().totals;
    assert_eq!((totals.accepted, totals.delivered), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn receipt_reports_shard_attempts_and_times() {
    let service = MockService::new(|call, request| Ok(answer_each(request, |_| call > 0)));
    let producer = produce(builder(), &service);
    let began = Instant::now();
    let receipt = producer.put(record(0)).await.unwrap();
    let delivery = receipt.await.unwrap();
    assert_eq!(delivery.shard_id(), "shardId-000000000000");
    assert_eq!((delivery.sequence_number(), delivery.attempts()), ("0", 2));
    assert_eq!(delivery.time_in_flight().as_millis(), 40, "two round trips");
    let total = delivery.time_in_buffer() + delivery.time_in_flight();
    assert_eq!(total.as_millis(), began.elapsed().as_millis());
}

#[tokio::test(start_paused = true)]
async fn failed_receipt_returns_record_and_history() {
    let service = MockService::failing(2, "InternalFailure");
    let producer =
        produce(builder().configure(|settings| settings.max_attempts = Some(2)), &service);
    let undelivered = producer.put(record(7)).await.unwrap().await.unwrap_err();
    assert_eq!(undelivered.record(), &record(7));
    assert!(matches!(undelivered.reason(), FailureReason::AttemptsExhausted { attempts: 2, .. }));
    assert!(undelivered.may_have_been_written());
    let history = undelivered.history();
    assert_eq!(history.len(), 2);
    assert_eq!(history[0].since_accepted().as_millis(), 20);
    assert!(history[1].since_accepted() >= ROUND_TRIP * 2);
    assert_eq!(history[1].error().code(), "InternalFailure");
    assert_eq!(history[1].error().message(), "a message");
    producer.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn forward_settles_tracked_records() {
    let service = MockService::new(|call, request| {
        Ok(answer_each(request, |place| call > 0 || place.is_multiple_of(2)))
    });
    let mut sink = builder().build_with(service).unwrap();
    let mut receipts = Vec::new();
    let source = stream::iter(records(0..700)).map(|record| {
        let (record, receipt) = record.tracked();
        receipts.push(receipt);
        Ok(record)
    });
    source.forward(&mut sink).await.unwrap();
    let ended = Instant::now();
    let deliveries = future::join_all(receipts).await;
    assert_eq!(ended.elapsed(), Duration::ZERO, "all receipts are complete");
    let attempts: u32 = deliveries.iter().map(|one| one.as_ref().unwrap().attempts()).sum();
    assert_eq!(attempts, 700 + 250, "half of the first 500 need two attempts");
}

#[tokio::test(start_paused = true)]
async fn dropped_sink_settles_all_receipts() {
    let service = MockService::delivering().with_round_trip(Duration::from_secs(1));
    let mut sink = builder().build_with(service).unwrap();
    let mut receipts = Vec::new();
    for record in records(0..700) {
        let (record, receipt) = record.tracked();
        receipts.push(receipt);
        sink.feed(record).await.unwrap();
    }
    assert!(sink.flush().now_or_never().is_none());
    drop(sink);
    for (number, receipt) in receipts.into_iter().enumerate() {
        let undelivered = receipt.await.unwrap_err();
        assert!(matches!(undelivered.reason(), FailureReason::Abandoned { last: None, .. }));
        assert_eq!(
            undelivered.may_have_been_written(),
            number < 500,
            "only records in flight may have been written"
        );
        assert_eq!(undelivered.record(), &record(number));
    }
}

#[tokio::test(start_paused = true)]
async fn try_put_returns_record_when_full() {
    let service = MockService::delivering();
    let producer =
        produce(builder().configure(|settings| settings.buffer_records = Some(2)), &service);
    let first = producer.try_put(record(0)).unwrap();
    producer.try_send(record(1)).unwrap();
    for error in
        [producer.try_put(record(2)).unwrap_err(), producer.try_send(record(2)).unwrap_err()]
    {
        assert_eq!(error.kind(), ErrorKind::Full);
        assert_eq!(error.into_record(), Some(record(2)));
    }
    first.await.unwrap();
    producer.try_put(record(2)).unwrap().await.unwrap();
    assert_eq!(service.delivered(), numbers(0..3));
}

#[tokio::test(start_paused = true)]
async fn put_returns_invalid_record_immediately() {
    let service = MockService::delivering();
    let producer =
        produce(builder().configure(|settings| settings.buffer_records = Some(1)), &service);
    producer.send(record(0)).await.unwrap();
    let invalid = Record::from(("", "an empty key"));
    let result = producer.put(invalid.clone()).now_or_never().expect("put does not wait");
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidPartitionKey, "{error}");
    assert_eq!(error.into_record(), Some(invalid));
}

#[tokio::test(start_paused = true)]
async fn linger_and_retries_need_no_polling() {
    let service = MockService::failing(3, "InternalFailure");
    let linger = Linger::Fixed(Duration::from_secs(1));
    let producer = produce(builder().with_linger(linger), &service);
    producer.send(record(0)).await.unwrap();
    sleep(Duration::from_millis(999)).await;
    assert_eq!(service.requests().len(), 0);
    sleep(Duration::from_secs(10)).await;
    assert_eq!(service.requests().len(), 4);
    assert_eq!(service.delivered(), ["0"]);
}

#[tokio::test(start_paused = true)]
async fn many_tasks_forward_into_one_producer() {
    let service = MockService::delivering();
    let producer = produce(builder(), &service);
    let forward = |task: usize| {
        let range = task * 100..(task + 1) * 100;
        tokio::spawn(stream::iter(records(range).map(Ok)).forward(producer.sink()))
    };
    for task in future::join_all((0..20).map(forward)).await {
        task.unwrap().unwrap();
    }
    assert!(!producer.is_closed(), "each task closes only its sink");
    producer.close().await.unwrap();
    let mut delivered = service.delivered();
    delivered.sort_by_key(|number| number.parse::<usize>().unwrap());
    assert_eq!(delivered, numbers(0..2_000));
}

#[tokio::test(start_paused = true)]
async fn closed_sink_and_its_clones_stay_closed() {
    let service = MockService::delivering();
    let producer = produce(builder(), &service);
    let mut sink = producer.sink();
    sink.close().await.unwrap();
    assert!(sink.is_closed() && sink.clone().is_closed() && !producer.is_closed());
    let mut clone = sink.clone();
    for sink in [&mut sink, &mut clone] {
        assert_eq!(sink.send(record(0)).await.unwrap_err().kind(), ErrorKind::Closed);
        let error = sink.start_send_unpin(record(0)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed);
        assert_eq!(error.into_record(), Some(record(0)));
    }
    producer.put(record(0)).await.unwrap().await.unwrap();
    drop((sink, clone));
    producer.put(record(1)).await.unwrap().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn spawn_keeps_buffered_records() {
    let service = MockService::delivering();
    let mut sink = builder()
        .configure(|settings| settings.buffer_records = Some(4))
        .build_with(service.clone())
        .unwrap();
    for record in records(0..3) {
        sink.feed(record).await.unwrap();
    }
    let producer = sink.spawn();
    producer.try_send(record(3)).unwrap();
    producer.try_send(record(4)).unwrap_err();
    producer.flush().await.unwrap();
    assert_eq!(service.delivered(), numbers(0..4));
    for number in 4..8 {
        producer.try_send(record(number)).unwrap();
    }
    let mut sink = builder().build_with(service.clone()).unwrap();
    sink.close().await.unwrap();
    let error = sink.spawn().send(record(9)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn thousand_tasks_deliver_each_record_once() {
    const TASKS: usize = 1_000;
    const EACH: usize = 1_000;
    let service = MockService::new(|call, request| match call % 50 {
        7 => Err(mock_service::service_error("InternalFailure")),
        _ => Ok(answer_each(request, |place| !(call + place).is_multiple_of(9))),
    });
    let builder = builder().with_max_in_flight(16).configure(|settings| {
        settings.backoff.base = ROUND_TRIP;
        settings.backoff.ceiling = ROUND_TRIP * 10;
    });
    let producer =
        produce(builder.configure(|settings| settings.limits = mock_service::unpaced()), &service);
    let task = |task: usize| {
        let producer = producer.clone();
        tokio::spawn(async move {
            let mut settled = 0;
            let numbers = stream::iter(task * EACH..(task + 1) * EACH);
            let receipts = numbers.then(move |number| {
                let producer = producer.clone();
                async move { producer.put(record(number)).await }
            });
            let mut outcomes = std::pin::pin!(receipts.map(Result::unwrap).buffered(100));
            while let Some(outcome) = outcomes.next().await {
                outcome.unwrap();
                settled += 1;
            }
            settled
        })
    };
    let settled = future::join_all((0..TASKS).map(task)).await;
    let settled: usize = settled.into_iter().map(|settled| settled.unwrap()).sum();
    producer.close().await.unwrap();
    assert_eq!(settled, TASKS * EACH);
    let totals = producer.status().totals;
    assert_eq!((totals.accepted, totals.delivered), (1_000_000, 1_000_000));
    assert!(totals.requeued > 0);
    let mut delivered: Vec<usize> =
        service.delivered().iter().map(|number| number.parse().unwrap()).collect();
    delivered.sort_unstable();
    assert!(delivered.into_iter().eq(0..TASKS * EACH), "each record is delivered once");
}

#[tokio::test(start_paused = true)]
async fn late_driver_measures_time_from_acceptance() {
    let service = MockService::delivering();
    let builder = builder().with_deadline(Duration::from_secs(20));
    let (producer, driver) = builder.build_with(service).unwrap().into_producer();
    let expired = producer.put(record(0)).await.unwrap();
    sleep(Duration::from_secs(15)).await;
    let in_time = producer.put(record(1)).await.unwrap();
    sleep(Duration::from_secs(10)).await;
    tokio::spawn(driver);
    let delivery = in_time.await.unwrap();
    assert_eq!(delivery.time_in_buffer().as_secs(), 10);
    assert!(matches!(expired.await.unwrap_err().reason(), FailureReason::DeadlineExceeded { .. }));
}

#[test]
fn producer_works_outside_of_tokio_runtime() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .unwrap();
    let service = MockService::delivering().with_round_trip(Duration::from_millis(1));
    let producer = {
        let _guard = runtime.enter();
        produce(builder().configure(|settings| settings.buffer_records = Some(2)), &service)
    };
    futures::executor::block_on(async {
        for record in records(0..50) {
            producer.send(record).await.unwrap();
        }
        producer.sink().send_all(&mut stream::iter(records(50..100).map(Ok))).await.unwrap();
        producer.put(record(100)).await.unwrap().await.unwrap();
        producer.close().await.unwrap();
    });
    assert_eq!(service.delivered().len(), 101);
}

/// The driver reads its inbox over several polls. The test calls `close` before the driver has read all records.
#[tokio::test(start_paused = true)]
async fn close_between_driver_polls_skips_linger() {
    for records in [1_100, 2_000, 5_000] {
        let builder = builder()
            .with_aggregation(Aggregation::PerKey)
            .with_linger(Linger::Fixed(Duration::from_secs(60)));
        let producer = produce(builder, &MockService::delivering());
        for number in 0..records {
            producer.try_send(record(number)).unwrap();
        }
        yield_now().await;
        let began = Instant::now();
        producer.close().await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(5), "{records}: {:?}", began.elapsed());
        assert_eq!(producer.status().totals.delivered, records as u64);
    }
}

#[tokio::test(start_paused = true)]
async fn driver_drains_inbox_over_several_polls() {
    async fn count_polls(records: usize) -> usize {
        // No response arrives for the request in flight, because virtual time does not advance while a task is busy.
        let builder = builder().with_max_in_flight(1);
        let (producer, driver) =
            builder.build_with(MockService::delivering()).unwrap().into_producer();
        for number in 0..records {
            producer.try_send(record(number)).unwrap();
        }
        let mut driver = tokio_test::task::spawn(driver);
        let mut polls = 0;
        loop {
            assert!(driver.poll().is_pending());
            polls += 1;
            yield_now().await;
            if !driver.is_woken() {
                break;
            }
        }
        tokio::spawn(driver);
        producer.close().await.unwrap();
        assert_eq!(producer.status().totals.delivered, records as u64);
        polls
    }
    let (few, many) = (count_polls(1).await, count_polls(10_000).await);
    assert!(many >= few + 8, "{many} polls, {few} for one record");
}
