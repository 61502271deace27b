//! Tests of backpressure: senders wait for record and byte permits, and get them in FIFO order.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::{FutureExt, SinkExt, StreamExt, future, stream};
use kinesis_sink::record::DeadLetterHandler;
use kinesis_sink::settings::Linger;
use kinesis_sink::{ErrorKind, KinesisSink, Record, SinkBuilder, Undelivered};
use tokio::time::{Instant, sleep, timeout};

use super::fixtures::{ROUND_TRIP, produce, record};
use crate::support::mock_service::{MockService, all_delivered, numbers, unpaced};

/// Time limit for a call, in virtual time. A call that takes longer is considered hung.
const HANG_TIMEOUT: Duration = Duration::from_secs(3_600);

fn builder() -> SinkBuilder {
    KinesisSink::builder("example").configure(|settings| {
        settings.seed = Some(1);
        settings.limits = unpaced();
    })
}

fn recording_max(max: &Arc<[AtomicUsize; 2]>) -> MockService {
    let max = max.clone();
    MockService::new(move |_, request| {
        max[0].fetch_max(request.entries().len(), Ordering::Relaxed);
        max[1].fetch_max(request.bytes(), Ordering::Relaxed);
        Ok(all_delivered(request))
    })
}

#[tokio::test(start_paused = true)]
async fn buffer_limits_hold_across_tasks() {
    for (records, bytes, size) in [(10, 1 << 20, 100), (1_000, 10_000, 1_000)] {
        let max = Arc::new([const { AtomicUsize::new(0) }; 2]);
        let service = recording_max(&max);
        let builder = builder().configure(|settings| {
            settings.buffer_records = Some(records);
            settings.buffer_bytes = bytes;
        });
        let producer = produce(builder.with_max_in_flight(1), &service);
        let task = |_| {
            let producer = producer.clone();
            let data = vec![b'.'; size - 1];
            async move { producer.put(Record::from(("k", data))).await.unwrap().await.unwrap() }
        };
        let tasks = (0..200).map(task).map(tokio::spawn);
        for task in future::join_all(tasks).await {
            drop(task.unwrap());
        }
        let [max_records, max_bytes] = &*max;
        let limit = 10;
        assert!(max_records.load(Ordering::Relaxed) <= limit, "{max_records:?}");
        assert!(max_bytes.load(Ordering::Relaxed) <= limit * size, "{max_bytes:?}");
        assert_eq!(service.delivered().len(), 200);
        assert!(service.requests().len() >= 20, "at most ten records per request");
    }
}

#[tokio::test(start_paused = true)]
async fn unsettled_records_stay_within_limit() {
    let service = MockService::delivering();
    let producer =
        produce(builder().configure(|settings| settings.buffer_records = Some(7)), &service);
    let accepted = Arc::new(AtomicUsize::new(0));
    for number in 0..100 {
        let (producer, accepted) = (producer.clone(), accepted.clone());
        tokio::spawn(async move {
            producer.send(record(number)).await.unwrap();
            accepted.fetch_add(1, Ordering::Relaxed);
        });
    }
    let mut max_unsettled = 0;
    while service.delivered().len() < 100 {
        let unsettled = accepted.load(Ordering::Relaxed) - service.delivered().len();
        max_unsettled = max_unsettled.max(unsettled);
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(max_unsettled, 7);
}

#[tokio::test(start_paused = true)]
async fn buffer_accepts_at_most_two_large_records() {
    let service = MockService::delivering();
    let producer = produce(builder().configure(|settings| settings.buffer_bytes = 100), &service);
    let large = || Record::from(("k", vec![b'l'; 1_000]));
    let small = || Record::from(("k", vec![b's'; 49]));
    let order = [small(), large(), large(), large(), small(), small()];
    let sends = order.map(|record| {
        let producer = producer.clone();
        async move { producer.put(record).await.unwrap().await.unwrap() }
    });
    future::join_all(sends).await;
    assert_eq!(service.sizes(), [2, 2, 2]);
    // The full buffer capacity is available again, because the large records have been delivered.
    producer.try_send(small()).unwrap();
    producer.try_send(small()).unwrap();
    producer.try_send(small()).unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn waiting_senders_are_served_fifo() {
    let service = MockService::delivering();
    let producer =
        produce(builder().configure(|settings| settings.buffer_records = Some(3)), &service);
    let mut tasks = Vec::new();
    for number in 0..60 {
        let producer = producer.clone();
        tasks.push(tokio::spawn(async move { producer.send(record(number)).await.unwrap() }));
        // Lets the sender join the queue before the next one.
        tokio::task::yield_now().await;
    }
    future::join_all(tasks).await;
    producer.close().await.unwrap();
    assert_eq!(service.delivered(), numbers(0..60));
}

#[tokio::test(start_paused = true)]
async fn busy_tasks_do_not_starve_others() {
    let service = MockService::delivering();
    let producer =
        produce(builder().configure(|settings| settings.buffer_records = Some(20)), &service);
    let busy = |name: &'static str| {
        let producer = producer.clone();
        tokio::spawn(async move {
            // Keeps 100 senders waiting, and starts the next 100 when all of them have been served.
            for _ in 0..40 {
                let sends = (0..100).map(|_| producer.send(Record::from(name)));
                future::join_all(sends).await;
            }
        })
    };
    let busy_tasks = [busy("hog"), busy("hog")];
    sleep(ROUND_TRIP * 3).await;
    for _ in 0..10 {
        let before = service.delivered().len();
        producer.put(Record::from("modest")).await.unwrap().await.unwrap();
        let others = service.delivered().len() - before;
        assert!(others <= 200 + 2 * 20, "{others} records overtake a waiter");
    }
    for task in busy_tasks {
        task.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn try_put_does_not_overtake_waiters() {
    let service = MockService::delivering();
    let producer =
        produce(builder().configure(|settings| settings.buffer_records = Some(2)), &service);
    producer.send(record(0)).await.unwrap();
    producer.send(record(1)).await.unwrap();
    let waiting = future::join_all((2..6).map(|number| producer.send(record(number))));
    let mut waiting = std::pin::pin!(waiting);
    assert!((&mut waiting).now_or_never().is_none());
    sleep(ROUND_TRIP + Duration::from_millis(1)).await;
    // Two permits are free, but `try_put` fails because they are reserved for the waiting senders.
    assert_eq!(service.delivered().len(), 2);
    let error = producer.try_put(record(9)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Full);
    waiting.await;
    producer.close().await.unwrap();
    assert_eq!(service.delivered(), numbers(0..6));
}

#[tokio::test(start_paused = true)]
async fn full_buffer_is_flushed_before_linger() {
    let service = MockService::delivering();
    let linger = Linger::Fixed(Duration::from_secs(30));
    let builder = builder().with_linger(linger).configure(|settings| settings.buffer_bytes = 1_000);
    let producer = produce(builder, &service);
    let began = Instant::now();
    // The buffer has capacity for two of the records, so the third one waits.
    let sends = (0..3).map(|_| producer.send(Record::from(("k", vec![0; 399]))));
    future::join_all(sends).await;
    assert_eq!(began.elapsed(), ROUND_TRIP);
}

#[tokio::test(start_paused = true)]
async fn dropped_send_sends_nothing_and_frees_permit() {
    let service = MockService::delivering();
    let producer =
        produce(builder().configure(|settings| settings.buffer_records = Some(2)), &service);
    producer.send(record(0)).await.unwrap();
    producer.send(record(1)).await.unwrap();
    assert!(producer.send(record(100)).now_or_never().is_none());
    assert!(producer.put(record(101)).now_or_never().is_none());
    let mut first = Box::pin(producer.send(record(102)));
    assert!((&mut first).now_or_never().is_none());
    let mut second = Box::pin(producer.send(record(2)));
    assert!((&mut second).now_or_never().is_none());
    drop(first);
    second.await.unwrap();
    // Drops a sender that has been granted a permit, so that the next waiting sender gets the permit.
    producer.send(record(3)).await.unwrap();
    let mut ready = Box::pin(producer.send(record(103)));
    assert!((&mut ready).now_or_never().is_none());
    let mut next = Box::pin(producer.send(record(4)));
    assert!((&mut next).now_or_never().is_none());
    sleep(ROUND_TRIP * 2).await;
    drop(ready);
    next.await.unwrap();
    producer.flush().await.unwrap();
    assert_eq!(service.delivered(), numbers(0..5));
    producer.try_send(record(5)).unwrap();
    producer.try_send(record(6)).unwrap();
}

#[tokio::test(start_paused = true)]
async fn ready_sink_keeps_permit_until_dropped() {
    let service = MockService::delivering();
    let producer =
        produce(builder().configure(|settings| settings.buffer_records = Some(2)), &service);
    let mut idle = producer.sink();
    future::poll_fn(|cx| idle.poll_ready_unpin(cx)).await.unwrap();
    producer.try_send(record(0)).unwrap();
    producer.try_send(record(1)).unwrap_err();
    drop(idle);
    producer.try_send(record(1)).unwrap();
}

fn sized(size: usize, bad: bool) -> Record {
    let mut data = vec![b'.'; size - 1];
    if bad {
        data[..3].copy_from_slice(b"bad");
    }
    Record::from(("k", data))
}

#[tokio::test(start_paused = true)]
async fn buffer_limits_hold_across_sinks() {
    let max = Arc::new([const { AtomicUsize::new(0) }; 2]);
    let service = recording_max(&max);
    let producer = produce(
        builder().configure(|settings| settings.buffer_bytes = 10_000).with_max_in_flight(1),
        &service,
    );
    let forward = |_| {
        let records = stream::iter((0..3).map(|_| Ok(sized(1_000, false))));
        tokio::spawn(records.forward(producer.sink()))
    };
    for task in future::join_all((0..300).map(forward)).await {
        task.unwrap().unwrap();
    }
    assert_eq!(service.delivered().len(), 900);
    let bytes = max[1].load(Ordering::Relaxed);
    assert!(bytes <= 10_000, "{bytes} bytes in one request");
}

#[tokio::test(start_paused = true)]
async fn try_send_leaves_capacity_for_byte_waiter() {
    let service = MockService::delivering();
    let builder = builder().configure(|settings| {
        settings.buffer_records = Some(3);
        settings.buffer_bytes = 120;
    });
    let producer = produce(builder, &service);
    let named = |name: &'static str| Record::from((name, vec![b'.'; 54]));
    producer.send(named("first.")).await.unwrap();
    producer.send(named("second")).await.unwrap();
    let mut waiting = Box::pin(producer.send(named("third.")));
    assert!((&mut waiting).now_or_never().is_none());
    sleep(ROUND_TRIP + Duration::from_millis(1)).await;
    producer.try_send(named("fourth")).expect("a permit is free beside the waiter's");
    let error = producer.try_send(named("fifth.")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Full);
    waiting.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn record_and_byte_waiters_are_served_fifo() {
    let service = MockService::delivering();
    let builder = builder().configure(|settings| {
        settings.buffer_records = Some(4);
        settings.buffer_bytes = 1_000;
    });
    let producer = produce(builder, &service);
    let mut tasks = Vec::new();
    for number in 0..80_usize {
        let producer = producer.clone();
        let size = if number % 3 == 0 { 490 } else { 10 };
        let record = Record::from((format!("{number:02}"), vec![b'.'; size]));
        tasks.push(tokio::spawn(async move { producer.send(record).await.unwrap() }));
        tokio::task::yield_now().await;
    }
    let all = timeout(HANG_TIMEOUT, future::join_all(tasks)).await;
    assert!(all.is_ok(), "two waiters wait for each other");
    producer.close().await.unwrap();
    let requests = service.requests();
    let entries = requests.iter().flat_map(|request| request.entries());
    let order = entries.map(|entry| entry.partition_key().unwrap().parse::<usize>().unwrap());
    let order: Vec<_> = order.collect();
    assert_eq!(order.len(), 80);
    // Senders can send in any order if they are granted permits at the same time.
    let overtakes = order.iter().enumerate().any(|(index, number)| index.abs_diff(*number) >= 4);
    assert!(!overtakes, "{order:?}");
}

#[tokio::test(start_paused = true)]
async fn send_fails_when_failed_records_fill_buffer() {
    for (failed, size) in [([40, 40], 40), ([20, 400], 40), ([45, 50], 10), ([50, 400], 400)] {
        let service = MockService::rejecting_bad();
        let producer =
            produce(builder().configure(|settings| settings.buffer_bytes = 100), &service);
        for failed_size in failed {
            producer.send(sized(failed_size, true)).await.unwrap();
        }
        sleep(ROUND_TRIP * 2).await;
        let sent = timeout(HANG_TIMEOUT, producer.send(sized(size, false))).await;
        let error = sent.expect("returns an error instead of waiting").unwrap_err();
        assert_eq!((error.kind(), error.count()), (ErrorKind::Undelivered, 2), "{error}");
        assert!(error.reason().is_some(), "{error}");
        let mut sink = producer.sink();
        let fed = timeout(HANG_TIMEOUT, sink.feed(sized(size, false))).await;
        let error = fed.expect("returns an error instead of waiting").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Undelivered, "{error}");
        assert_eq!(producer.take_failed().await.len(), 2);
        producer.try_send(sized(size, false)).expect("taken records free their permits");
    }
}

#[tokio::test(start_paused = true)]
async fn waiters_succeed_despite_failed_record() {
    let service = MockService::rejecting_bad();
    let producer =
        produce(builder().configure(|settings| settings.buffer_records = Some(10)), &service);
    producer.send(sized(10, true)).await.unwrap();
    sleep(ROUND_TRIP * 2).await;
    let send = |_| {
        let producer = producer.clone();
        tokio::spawn(async move { producer.send(sized(10, false)).await })
    };
    for sent in future::join_all((0..100).map(send)).await {
        sent.unwrap().expect("nine permits are available");
    }
    assert_eq!(producer.take_failed().await.len(), 1);
    producer.close().await.unwrap();
    assert_eq!(service.delivered().len(), 100);
}

#[tokio::test(start_paused = true)]
async fn unused_permits_do_not_shrink_requests() {
    let service = MockService::delivering();
    let linger = Linger::Fixed(Duration::from_millis(100));
    let builder =
        builder().configure(|settings| settings.buffer_records = Some(50)).with_linger(linger);
    let producer = produce(builder, &service);
    let send = |_| {
        let producer = producer.clone();
        tokio::spawn(async move {
            for _ in 0..5 {
                producer.send(sized(10, false)).await.unwrap();
            }
        })
    };
    future::join_all((0..200).map(send)).await;
    producer.close().await.unwrap();
    assert_eq!(service.delivered().len(), 1_000);
    assert!(service.requests().len() <= 24, "{:?}", service.sizes());
}

#[tokio::test(start_paused = true)]
async fn ready_sink_does_not_block_large_record() {
    let producer = produce(
        builder().configure(|settings| settings.buffer_bytes = 1_000),
        &MockService::delivering(),
    );
    let mut idle = producer.sink();
    future::poll_fn(|cx| idle.poll_ready_unpin(cx)).await.unwrap();
    for size in [2_000, 1_000, 10] {
        let sent = timeout(HANG_TIMEOUT, producer.send(sized(size, false))).await;
        sent.expect("the sink returns its permit").unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn sink_returns_excess_permit_bytes() {
    let producer = produce(
        builder().configure(|settings| settings.buffer_bytes = 1_000),
        &MockService::delivering(),
    );
    let mut sink = producer.sink();
    sink.feed(sized(400, false)).await.unwrap();
    producer.flush().await.unwrap();
    // The sink reserves 400 bytes because its largest record had this size, but sends only 10 bytes.
    sink.feed(sized(10, false)).await.unwrap();
    producer.try_send(sized(490, false)).unwrap();
    producer.try_send(sized(490, false)).unwrap();
    producer.try_send(sized(20, false)).unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn closed_sink_frees_permit() {
    let producer = produce(
        builder().configure(|settings| settings.buffer_records = Some(1)),
        &MockService::delivering(),
    );
    let mut sink = producer.sink();
    future::poll_fn(|cx| sink.poll_ready_unpin(cx)).await.unwrap();
    producer.try_send(sized(10, false)).unwrap_err();
    sink.close().await.unwrap();
    producer.try_send(sized(10, false)).unwrap();
}

/// The first waiting sender does not cause a flush, but a later one does, because it needs more bytes.
#[tokio::test(start_paused = true)]
async fn larger_waiter_triggers_flush() {
    let service = MockService::delivering();
    let builder = builder()
        .configure(|settings| settings.buffer_bytes = 10_000)
        .with_linger(Linger::Fixed(Duration::from_secs(36)));
    let producer = produce(builder, &service);
    for _ in 0..2 {
        producer.send(sized(3_000, false)).await.unwrap();
    }
    // A ready sink keeps a permit for 3,000 bytes, the size of the largest record so far, even if it sends nothing.
    let mut ready = producer.sink();
    future::poll_fn(|cx| ready.poll_ready_unpin(cx)).await.unwrap();
    let began = Instant::now();
    let send = |size| {
        let producer = producer.clone();
        tokio::spawn(async move { producer.send(sized(size, false)).await })
    };
    let small = send(1_500);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(
        service.requests().len(),
        0,
        "the small record fits once the sink returns its permit"
    );
    let large = send(4_500);
    small.await.unwrap().unwrap();
    large.await.unwrap().unwrap();
    assert!(began.elapsed() < 3 * ROUND_TRIP, "{:?}", began.elapsed());
    drop(ready);
    producer.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn full_try_send_triggers_flush() {
    let linger = Linger::Fixed(Duration::from_secs(30));
    let builder = builder().with_linger(linger).configure(|settings| settings.buffer_bytes = 1_000);
    let producer = produce(builder, &MockService::delivering());
    producer.try_send(sized(400, false)).unwrap();
    producer.try_send(sized(400, false)).unwrap();
    let began = Instant::now();
    while producer.try_send(sized(400, false)).is_err() {
        sleep(Duration::from_millis(1)).await;
    }
    assert!(began.elapsed() <= ROUND_TRIP * 2, "{:?}", began.elapsed());
}

/// Once a waiting sender has timed out or sent its record, it must not cause further early flushes.
#[tokio::test(start_paused = true)]
async fn earlier_waiters_do_not_cause_flushes() {
    let service = MockService::delivering();
    let linger = Linger::Fixed(Duration::from_millis(100));
    let builder =
        builder().configure(|settings| settings.buffer_records = Some(10)).with_linger(linger);
    let producer = produce(builder, &service);
    let mut impatient = producer.sink();
    for _ in 0..10 {
        producer.send(sized(10, false)).await.unwrap();
    }
    let elapsed = timeout(Duration::from_millis(1), impatient.feed(sized(10, false))).await;
    assert!(elapsed.is_err());
    future::join_all((0..5).map(|_| producer.send(sized(10, false)))).await;
    producer.flush().await.unwrap();
    let before = service.requests().len();
    for _ in 0..9 {
        producer.send(sized(10, false)).await.unwrap();
        sleep(Duration::from_millis(5)).await;
    }
    producer.flush().await.unwrap();
    assert_eq!(service.requests().len() - before, 1, "{:?}", service.sizes());
}

#[tokio::test(start_paused = true)]
async fn handler_can_return_another_record() {
    struct KeepNewest(Option<Undelivered>);
    impl DeadLetterHandler for KeepNewest {
        fn put(&mut self, undelivered: Undelivered) -> Option<Undelivered> {
            self.0.replace(undelivered)
        }
    }
    let builder = builder()
        .configure(|settings| settings.buffer_bytes = 2_000)
        .with_dead_letter_handler(KeepNewest(None));
    let producer = produce(builder, &MockService::rejecting_bad());
    producer.send(sized(1_000, true)).await.unwrap();
    producer.flush().await.unwrap();
    producer.send(sized(10, true)).await.unwrap();
    let error = producer.flush().await.unwrap_err();
    assert_eq!((error.kind(), error.count()), (ErrorKind::Undelivered, 1), "{error}");
    // The 1,000-byte record returned by the handler uses buffer capacity again.
    producer.try_send(sized(900, false)).unwrap();
    producer.try_send(sized(200, false)).unwrap_err();
    assert_eq!(producer.take_failed().await[0].record().size(), 1_000);
    producer.try_send(sized(900, false)).unwrap();
    producer.close().await.unwrap();
}

/// Runs on two threads to observe the moment at which a receipt or flush completes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn permit_is_free_when_receipt_completes() {
    let service = MockService::delivering().with_round_trip(Duration::ZERO);
    let producer =
        produce(builder().configure(|settings| settings.buffer_records = Some(1)), &service);
    let task = tokio::spawn(async move {
        for number in 1..=2_000 {
            let receipt = producer.try_put(sized(10, false)).expect("the permit is free");
            receipt.await.unwrap();
            assert_eq!(producer.status().totals.delivered, 2 * number - 1);
            producer.try_send(sized(10, false)).expect("the permit is free");
            producer.flush().await.unwrap();
            assert_eq!(producer.status().totals.delivered, 2 * number);
        }
    });
    task.await.unwrap();
}
