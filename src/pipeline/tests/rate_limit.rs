//! Send rates after outages, idle time, and shed requests, and with busy shards.

use super::*;

/// Returns settings with the default quota and short backoffs.
fn with_quota() -> Settings {
    let ms = Duration::from_millis(1);
    Settings { backoff: BackoffSettings { base: ms, ceiling: ms }, ..Settings::default() }
}

fn push(harness: &mut Harness, count: usize, bytes: usize) {
    for _ in 0..count {
        let record = Record::from(("k", vec![b'.'; bytes]));
        harness.pipeline.accept(record, harness.now).unwrap();
    }
    harness.pipeline.flush();
}

fn await_request(harness: &mut Harness) -> (RequestId, PutRecordsRequest) {
    loop {
        harness.pipeline.advance(harness.now);
        if let Some((id, request, _)) = harness.pipeline.next_request(harness.now) {
            return (id, request);
        }
        harness.sleep();
    }
}

fn throttle(harness: &mut Harness, id: RequestId, request: &PutRecordsRequest) {
    harness.settle(id, request.entries().iter().map(|_| failed(THROTTLE)).collect());
}

/// Creates an empty pipeline with one known shard. The rate limit of the shard is at its lower bound.
fn at_min_share() -> Harness {
    let mut harness = Harness::new(with_quota());
    push(&mut harness, 1, 10);
    let (id, request) = await_request(&mut harness);
    harness.deliver(id, &request);
    push(&mut harness, 1, 10);
    for _ in 0..60 {
        let (id, request) = await_request(&mut harness);
        throttle(&mut harness, id, &request);
    }
    let (id, request) = await_request(&mut harness);
    harness.deliver(id, &request);
    assert!(harness.pipeline.is_settled());
    harness
}

/// Returns the number of entries delivered within `time`.
fn delivered_in(harness: &mut Harness, time: Duration) -> u64 {
    let end = harness.now + time;
    let before = harness.pipeline.ledger().totals().delivered;
    while harness.now < end && harness.pipeline.queued() > 0 {
        if let Some((id, request, _)) = harness.pipeline.next_request(harness.now) {
            harness.deliver(id, &request);
        } else {
            harness.sleep();
        }
    }
    harness.pipeline.ledger().totals().delivered - before
}

#[test]
fn deficit_is_refilled_at_growing_rate() {
    let mut harness = at_min_share();
    push(&mut harness, 2, 1_000_000);
    let (id, request) = await_request(&mut harness);
    assert_eq!(request.entries().len(), 1);
    harness.deliver(id, &request);
    let begin = harness.now;
    await_request(&mut harness);
    let waited = harness.now - begin;
    // The rate after t seconds is (0.005 + 0.015 t) MiB/s, so the deficit of 1 MB is refilled after 11 s.
    assert!(waited < Duration::from_secs(15), "{waited:?}");
}

#[test]
fn idle_hour_does_not_raise_rate() {
    let mut harness = at_min_share();
    push(&mut harness, 1_000, 10);
    let early = delivered_in(&mut harness, Duration::from_secs(1));
    let mut harness = at_min_share();
    harness.now += Duration::from_secs(3600);
    // Like a producer's driver, accepts records before it sends requests.
    push(&mut harness, 1_000, 10);
    let late = delivered_in(&mut harness, Duration::from_secs(1));
    assert!(late < 3 * early + 20, "{early} entries before the hour, {late} after it");
}

#[test]
fn outage_does_not_raise_rate() {
    let mut harness = at_min_share();
    harness.pipeline.health.set_backoff(Duration::from_millis(100), Duration::from_secs(3));
    push(&mut harness, 3_000, 10);
    let early = delivered_in(&mut harness, Duration::from_secs(1));
    let end = harness.now + Duration::from_secs(60);
    while harness.now < end {
        let (id, _) = await_request(&mut harness);
        harness.fail(id, "InternalFailure");
    }
    await_request(&mut harness);
    let in_flight: Vec<_> = harness.pipeline.in_flight.ids().collect();
    for id in in_flight {
        let n = harness.pipeline.in_flight.get(id).entries.len();
        harness.settle(id, (0..n).map(|_| delivered()).collect());
    }
    let late = delivered_in(&mut harness, Duration::from_secs(1));
    // The first requests are small, and each response raises the rate.
    assert!(late < 4 * early + 20, "{early} entries before the outage, {late} after it");
}

#[test]
fn shed_request_uses_no_quota() {
    let mut harness = Harness::new(with_quota());
    push(&mut harness, 1, 10);
    let (id, request) = await_request(&mut harness);
    harness.deliver(id, &request);
    push(&mut harness, 9_000, 10);
    let end = harness.now + Duration::from_secs(5);
    let mut sheds = false;
    while harness.now < end {
        let (id, request) = await_request(&mut harness);
        sheds = !sheds;
        if sheds {
            let shed = tower::load_shed::error::Overloaded::new();
            harness.pipeline.settle(id, Err(shed.into()), harness.now);
        } else {
            harness.deliver(id, &request);
        }
    }
    let delivered = harness.pipeline.ledger().totals().delivered;
    assert!(delivered > 4_500, "{delivered} of 5,000 records");
}

/// Returns the number of records delivered per second. The pipeline is offered 5,000 records of 100 B per second, all
/// with the same key.
fn aggregated_rate(linger: Linger) -> u64 {
    let mut harness = Harness::new(Settings {
        linger,
        aggregation: Aggregation::PerKey,
        buffer_records: Some(100_000),
        ..with_quota()
    });
    let mut in_flight: VecDeque<(Instant, RequestId, PutRecordsRequest)> = VecDeque::new();
    for _ in 0..10_000 {
        while in_flight.front().is_some_and(|(at, ..)| *at <= harness.now) {
            let (_, id, request) = in_flight.pop_front().unwrap();
            harness.deliver(id, &request);
        }
        for _ in 0..5 {
            let record = Record::from(("k", vec![b'.'; 100]));
            if harness.pipeline.has_capacity() {
                harness.pipeline.accept(record, harness.now).unwrap();
            }
            harness.pipeline.flush();
            while let Some((id, request, _)) = harness.pipeline.next_request(harness.now) {
                in_flight.push_back((harness.now + ROUND_TRIP, id, request));
            }
        }
        harness.now += Duration::from_millis(1);
    }
    harness.pipeline.ledger().totals().delivered / 10
}

#[test]
fn aggregates_fill_while_lane_is_paused() {
    let fixed = aggregated_rate(Linger::Fixed(Duration::from_millis(100)));
    let adaptive = aggregated_rate(Linger::Adaptive(Duration::from_millis(100)));
    assert!(
        fixed > 4_500 && adaptive > 4_500,
        "fixed linger: {fixed}, adaptive linger: {adaptive}"
    );
}

fn push_to_shard(harness: &mut Harness, shard: u64, of: u64, bytes: usize) {
    let place = (u128::from(shard) * 2 + 1) * (u128::MAX / (2 * u128::from(of)));
    let record = Record::from(("k", vec![b'.'; bytes])).with_explicit_hash_key(place);
    harness.pipeline.accept(record, harness.now).unwrap();
    harness.pipeline.flush();
}

fn placement(entry: &crate::service::Entry, of: u64) -> Placement {
    let shard = entry.explicit_hash_key().unwrap().get() / (u128::MAX / u128::from(of));
    Placement::new(format!("shardId-{shard:012}"), "1")
}

#[test]
fn early_throttle_does_not_stop_auto_stream() {
    let mut harness = Harness::new(Settings { buffer_records: Some(1_000_000), ..with_quota() });
    for _ in 0..500_000 {
        let record = Record::from("x").with_partition_key(PartitionKey::ServiceManaged);
        harness.pipeline.accept(record, harness.now).unwrap();
    }
    harness.pipeline.flush();
    let (id, request) = await_request(&mut harness);
    let results = request.entries().iter().enumerate();
    harness.settle(
        id,
        results.map(|(n, _)| if n == 7 { failed(THROTTLE) } else { delivered() }).collect(),
    );
    let rate = delivered_in(&mut harness, Duration::from_secs(10)) / 10;
    assert!(rate > 5_000, "{rate} records per second");
}

fn requests_while_all_entries_fail(shards: u64, code: &str) -> u64 {
    let mut harness = Harness::new(Settings::default());
    for shard in 0..shards {
        push_to_shard(&mut harness, shard, shards, 10);
    }
    let (id, request) = await_request(&mut harness);
    harness.settle(id, request.entries().iter().map(|one| Ok(placement(one, shards))).collect());
    for _ in 0..20 {
        for shard in 0..shards {
            push_to_shard(&mut harness, shard, shards, 10);
        }
    }
    let end = harness.now + Duration::from_secs(30);
    let before = harness.pipeline.ledger().totals().requests;
    while harness.now < end {
        let (id, request) = await_request(&mut harness);
        harness.now += ROUND_TRIP;
        harness.settle(id, request.entries().iter().map(|_| failed(code)).collect());
    }
    harness.pipeline.ledger().totals().requests - before
}

#[test]
fn outage_reported_per_entry_backs_off() {
    let requests = [1, 8, 100].map(|n| requests_while_all_entries_fail(n, "InternalFailure"));
    assert!(
        requests.iter().all(|&n| n <= 40),
        "{requests:?} requests in 30 s with 1, 8, and 100 shards"
    );
}

#[test]
fn hourly_reshards_are_listed_immediately() {
    let mut harness = Harness::listing(settings());
    let mut longest = Duration::ZERO;
    for n in 0..30_u64 {
        // Every hour, a new shard replaces the previous one.
        harness.now += Duration::from_secs(3600);
        push(&mut harness, 1, 10);
        let (id, _) = await_request(&mut harness);
        harness.settle(id, vec![Ok(Placement::new(format!("shardId-{n:012}"), "1"))]);
        let waits = harness.pipeline.topology.wakeup(harness.now);
        longest = longest.max(waits.map_or(Duration::ZERO, |at| at - harness.now));
        harness.now += Duration::from_secs(60);
        if harness.begin_listing() {
            let range = crate::shard::HashRange::new(
                crate::record::HashKey::new(0),
                crate::record::HashKey::new(u128::MAX),
            );
            let all = crate::shard::Shard::new(format!("shardId-{n:012}"), range.unwrap());
            harness
                .pipeline
                .apply_list(Some(crate::shard::ShardMap::new(vec![all]).unwrap()), harness.now);
        }
    }
    assert!(longest <= Duration::from_millis(100), "{longest:?}");
}

/// Returns the number of requests that succeed in 10 s. The service accepts two concurrent requests and sheds all
/// others.
fn requests_through_load_shed(max_in_flight: usize) -> usize {
    let mut harness =
        Harness::new(Settings { max_in_flight, buffer_records: Some(100_000), ..settings() });
    let mut in_flight: VecDeque<(Instant, RequestId, PutRecordsRequest)> = VecDeque::new();
    let mut answered = 0;
    for _ in 0..10_000 {
        while in_flight.front().is_some_and(|(at, ..)| *at <= harness.now) {
            let (_, id, request) = in_flight.pop_front().unwrap();
            harness.deliver(id, &request);
            answered += 1;
        }
        if harness.pipeline.queued() < 5_000 {
            push(&mut harness, 5_000, 1);
        }
        while let Some((id, request, _)) = harness.pipeline.next_request(harness.now) {
            if in_flight.len() < 2 {
                in_flight.push_back((harness.now + ROUND_TRIP, id, request));
            } else {
                let shed = tower::load_shed::error::Overloaded::new();
                harness.pipeline.settle(id, Err(shed.into()), harness.now);
            }
        }
        harness.now += Duration::from_millis(1);
    }
    answered
}

#[test]
fn load_shed_keeps_service_busy() {
    let [two, eight] = [2, 8].map(requests_through_load_shed);
    assert!(eight * 10 > two * 9, "{two} requests with two slots, {eight} with eight");
}

/// Returns the number of records delivered per second from a full buffer to 8 shards. If `busy` is `true`, one of the
/// shards accepts only 50 records per second.
fn rate_with_busy_shard(busy: bool) -> u64 {
    let mut harness = Harness::new(Settings::default());
    let mut in_flight: VecDeque<(Instant, RequestId, PutRecordsRequest)> = VecDeque::new();
    let mut tokens = 0.0_f64;
    let mut half = 0;
    for ms in 0..60_000 {
        if ms == 30_000 {
            half = harness.pipeline.ledger().totals().delivered;
        }
        tokens = (tokens + 0.05).min(50.0);
        while in_flight.front().is_some_and(|(at, ..)| *at <= harness.now) {
            let (_, id, request) = in_flight.pop_front().unwrap();
            let answer = |entry: &crate::service::Entry| {
                let hash = crate::shard::hash_of(entry.partition_key().unwrap()).get();
                let shard = hash >> 125;
                if busy && shard == 0 {
                    if tokens < 1.0 {
                        return failed(THROTTLE);
                    }
                    tokens -= 1.0;
                }
                Ok(Placement::new(format!("shardId-{shard:012}"), "1"))
            };
            let results = request.entries().iter().map(answer).collect();
            harness.settle(id, results);
        }
        while harness.pipeline.has_capacity() {
            harness.pipeline.accept(Record::from("0123456789"), harness.now).unwrap();
        }
        harness.pipeline.flush();
        while let Some((id, request, _)) = harness.pipeline.next_request(harness.now) {
            in_flight.push_back((harness.now + ROUND_TRIP, id, request));
        }
        harness.now += Duration::from_millis(1);
    }
    (harness.pipeline.ledger().totals().delivered - half) / 30
}

#[test]
fn keyless_records_avoid_busy_shard() {
    let [free, busy] = [false, true].map(rate_with_busy_shard);
    assert!(busy * 10 > free * 8, "{free} records per second, {busy} with a busy shard");
}

#[test]
fn aggregate_is_sent_after_idle_hour() {
    for linger in [Linger::Fixed, Linger::Adaptive] {
        let linger = linger(Duration::from_millis(100));
        let mut harness =
            Harness::new(Settings { linger, aggregation: Aggregation::PerKey, ..with_quota() });
        for bytes in [10, 1_000_000] {
            push(&mut harness, 1, bytes);
            let (id, request) = await_request(&mut harness);
            harness.deliver(id, &request);
        }
        // The refill of the deficit takes 2 s.
        for _ in 0..2_000 {
            harness.now += Duration::from_millis(1);
            assert!(!harness.pipeline.wants_to_send(harness.now));
        }
        harness.now += Duration::from_secs(3600);
        push(&mut harness, 1, 20_000);
        let begun = harness.now;
        await_request(&mut harness);
        assert!(harness.now - begun <= Duration::from_millis(100));
    }
}

#[test]
fn closed_aggregate_does_not_cause_empty_request() {
    let fixed = Linger::Fixed(Duration::from_millis(100));
    let mut harness =
        Harness::new(Settings { aggregation: Aggregation::PerKey, linger: fixed, ..with_quota() });
    for bytes in [1, 230_000] {
        push(&mut harness, 1, bytes);
        let (id, request) = await_request(&mut harness);
        harness.deliver(id, &request);
    }
    // The bucket still contains about 30,000 byte tokens, which cover the closed aggregate but not the older one.
    push(&mut harness, 4, 10_000);
    harness.pipeline.backlog.packing_mut().max_records = 1;
    harness.pipeline.accept(Record::from(("z", "y")), harness.now).unwrap();
    harness.pipeline.backlog.packing_mut().max_records = 1_000;
    harness.pipeline.close();
    let mut records = 0;
    while !harness.pipeline.is_settled() {
        let (id, request) = await_request(&mut harness);
        assert!(!request.entries().is_empty());
        records += harness.pipeline.in_flight.get(id).records;
        harness.deliver(id, &request);
    }
    assert_eq!(records, 5);
}

#[test]
fn ordered_lane_raises_its_rate() {
    for ordering in [RecordOrdering::Unordered, RecordOrdering::PerKey] {
        let fixed = Linger::Fixed(Duration::from_millis(100));
        let mut harness = Harness::new(Settings {
            ordering,
            aggregation: Aggregation::PerKey,
            linger: fixed,
            ..with_quota()
        });
        for throttles in [0, 60] {
            push(&mut harness, 1, 10);
            let (mut id, mut request) = await_request(&mut harness);
            for _ in 0..throttles {
                throttle(&mut harness, id, &request);
                (id, request) = await_request(&mut harness);
            }
            harness.deliver(id, &request);
        }
        // Accepts 8 KB/s for three minutes. The initial rate limit is 5 KB/s.
        let mut latest = Duration::ZERO;
        for _ in 0..8 * 180 {
            push(&mut harness, 1, 1_000);
            harness.now += Duration::from_millis(125);
            while let Some((id, request, _)) = harness.pipeline.next_request(harness.now) {
                let oldest = harness.pipeline.in_flight.get(id).entries[0].oldest().accepted_at;
                latest = harness.now - oldest;
                harness.now += ROUND_TRIP;
                harness.deliver(id, &request);
            }
        }
        assert!(latest < Duration::from_millis(500), "{ordering:?}: {latest:?}");
    }
}

#[test]
fn rejected_record_delays_others_briefly() {
    let fixed = Linger::Fixed(Duration::from_millis(100));
    let mut harness = Harness::new(Settings {
        ordering: RecordOrdering::PerKey,
        aggregation: Aggregation::PerKey,
        linger: fixed,
        ..settings()
    });
    harness.pipeline.accept(Record::from(("k", "poison")), harness.now).unwrap();
    push(&mut harness, 400, 100);
    let begun = harness.now;
    while !harness.pipeline.is_settled() {
        let (id, request) = await_request(&mut harness);
        harness.now += ROUND_TRIP;
        let is_bad = |data: &[u8]| data.windows(6).any(|window| window == b"poison");
        let answer = |entry: &crate::service::Entry| {
            if is_bad(entry.data()) { failed("InvalidArgumentException") } else { delivered() }
        };
        harness.settle(id, request.entries().iter().map(answer).collect());
    }
    assert!(harness.now - begun < Duration::from_secs(2), "{:?}", harness.now - begun);
}

/// Creates an empty pipeline with one known shard, whose bucket contains no byte tokens.
fn in_deficit(settings: Settings) -> Harness {
    let mut harness = Harness::new(settings);
    for bytes in [10, 900_000] {
        push(&mut harness, 1, bytes);
        let (id, request) = await_request(&mut harness);
        harness.deliver(id, &request);
    }
    harness
}

/// Sends requests as the sink does, until there is nothing to send. Returns the number of requests.
fn send_all(harness: &mut Harness) -> usize {
    let mut sent = 0;
    while harness.pipeline.wants_to_send(harness.now) {
        let next = harness.pipeline.next_request(harness.now);
        if next.is_none() && !harness.pipeline.is_unfinished() {
            break;
        }
        sent += usize::from(next.is_some());
    }
    sent
}

#[test]
fn closed_aggregates_resume_lane() {
    let mut harness = in_deficit(Settings { aggregation: Aggregation::PerKey, ..with_quota() });
    harness.now += Duration::from_secs(10);
    for n in 0..6 {
        let record = Record::from((format!("{}", n / 2), vec![b'.'; 23_000]));
        harness.pipeline.accept(record, harness.now).unwrap();
    }
    harness.pipeline.close();
    harness.pipeline.advance(harness.now);
    assert_eq!(send_all(&mut harness), 1, "{:?}", harness.pipeline.wakeup(harness.now));
}

#[test]
fn expired_record_resumes_lane() {
    let deadline = Some(Duration::from_secs(10));
    let mut harness = in_deficit(Settings { deadline, max_in_flight: 1, ..with_quota() });
    push(&mut harness, 1, 10);
    let (id, _) = await_request(&mut harness);
    push(&mut harness, 1, 10);
    harness.now += Duration::from_secs(9);
    push(&mut harness, 1, 100_000);
    harness.now += Duration::from_secs(1);
    harness.fail(id, "InternalFailure");
    harness.now += Duration::from_secs(1);
    harness.pipeline.advance(harness.now);
    assert_eq!(harness.pipeline.ledger().failed().records, 2);
    assert_eq!(send_all(&mut harness), 1, "{:?}", harness.pipeline.wakeup(harness.now));
}

#[test]
fn wants_to_send_is_true_after_pause() {
    let mut harness = in_deficit(with_quota());
    harness.now += Duration::from_secs(10);
    push(&mut harness, 1, 100_000);
    assert!(
        harness.pipeline.wants_to_send(harness.now),
        "the pause has ended without a call of advance"
    );
}

#[test]
fn lane_stays_paused_without_free_slot() {
    let mut harness = in_deficit(Settings { max_in_flight: 1, ..with_quota() });
    push(&mut harness, 1, 10);
    let (id, request) = await_request(&mut harness);
    push(&mut harness, 1, 200_000);
    let record = Record::from(("k", "x"));
    let record =
        BufferedRecord::new(record, 0, Admission::default(), harness.now, &mut Rng::with_seed(0));
    let lane = harness.pipeline.topology.lane_of_record(&record);
    assert!(harness.pipeline.backlog.lanes().is_paused(lane), "the lane waits for tokens");
    harness.now += Duration::from_secs(10);
    harness.pipeline.advance(harness.now);
    assert!(harness.pipeline.backlog.lanes().is_paused(lane), "no request slot is free");
    harness.deliver(id, &request);
    let (_, request) = await_request(&mut harness);
    assert_eq!(request.entries().len(), 1);
}

#[test]
fn resting_lane_keeps_deficit() {
    let next_request_after = |rests| {
        let mut harness = in_deficit(with_quota());
        if rests {
            harness.pipeline.rest();
        }
        let begin = harness.now;
        push(&mut harness, 1, 10);
        assert!(!harness.pipeline.wants_to_send(harness.now), "the lane waits for tokens");
        await_request(&mut harness);
        harness.now - begin
    };
    assert_eq!(next_request_after(true), next_request_after(false));
}
