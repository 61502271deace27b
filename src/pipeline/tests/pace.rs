//! What a pace must not be led astray by: outages, idle hours, shed requests, busy neighbours.

use super::*;

/// With the real quota and short back-offs.
fn paced() -> Settings {
    let ms = Duration::from_millis(1);
    Settings { seed: Some(7), backoff_base: ms, backoff_ceiling: ms, ..Settings::default() }
}

fn push(bench: &mut Bench, count: usize, bytes: usize) {
    for _ in 0..count {
        let record = Record::from(("k", vec![b'.'; bytes]));
        bench.pipeline.accept(record, bench.now).unwrap();
    }
    bench.pipeline.flush();
}

fn next_cut(bench: &mut Bench) -> (RequestId, PutRecordsRequest) {
    loop {
        bench.pipeline.expire(bench.now);
        if let Some((id, request, _)) = bench.pipeline.cut(bench.now) {
            return (id, request);
        }
        bench.sleep();
    }
}

fn throttle(bench: &mut Bench, id: RequestId, request: &PutRecordsRequest) {
    bench.settle(id, request.entries().iter().map(|_| failed(THROTTLE)).collect());
}

/// One shard is known, its share is at the floor, and nothing waits.
fn at_the_floor() -> Bench {
    let mut bench = Bench::new(paced());
    push(&mut bench, 1, 10);
    let (id, request) = next_cut(&mut bench);
    bench.deliver(id, &request);
    push(&mut bench, 1, 10);
    for _ in 0..60 {
        let (id, request) = next_cut(&mut bench);
        throttle(&mut bench, id, &request);
    }
    let (id, request) = next_cut(&mut bench);
    bench.deliver(id, &request);
    assert!(bench.pipeline.is_settled());
    bench
}

/// Entries that are delivered within `time`.
fn delivered_in(bench: &mut Bench, time: Duration) -> u64 {
    let (end, before) = (bench.now + time, bench.pipeline.totals().delivered);
    while bench.now < end && bench.pipeline.waiting() > 0 {
        if let Some((id, request, _)) = bench.pipeline.cut(bench.now) {
            bench.deliver(id, &request);
        } else {
            bench.sleep();
        }
    }
    bench.pipeline.totals().delivered - before
}

#[test]
fn a_debt_is_waited_for_at_the_rate_that_grows_meanwhile() {
    let mut bench = at_the_floor();
    push(&mut bench, 2, 1_000_000);
    let (id, request) = next_cut(&mut bench);
    assert_eq!(request.entries().len(), 1);
    bench.deliver(id, &request);
    let begin = bench.now;
    next_cut(&mut bench);
    let waited = bench.now - begin;
    // At 0.005 + 0.015 t of 1 MiB/s, 1 MB has come after 11 s.
    assert!(waited < Duration::from_secs(15), "{waited:?}");
}

#[test]
fn an_idle_hour_is_no_demand() {
    let mut bench = at_the_floor();
    push(&mut bench, 1_000, 10);
    let early = delivered_in(&mut bench, Duration::from_secs(1));
    let mut bench = at_the_floor();
    bench.now += Duration::from_secs(3600);
    // Like a producer's driver: taken in first, then asked what is due.
    push(&mut bench, 1_000, 10);
    let late = delivered_in(&mut bench, Duration::from_secs(1));
    assert!(late < 3 * early + 20, "{early} before the hour, {late} after");
}

#[test]
fn an_outage_is_no_reason_to_grow() {
    let mut bench = at_the_floor();
    bench.pipeline.backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(3));
    push(&mut bench, 3_000, 10);
    let early = delivered_in(&mut bench, Duration::from_secs(1));
    let end = bench.now + Duration::from_secs(60);
    while bench.now < end {
        let (id, _) = next_cut(&mut bench);
        bench.fail(id, "InternalFailure");
    }
    next_cut(&mut bench);
    let flights: Vec<_> = bench.pipeline.flights.keys().copied().collect();
    for id in flights {
        let n = bench.pipeline.flights[&id].units.len();
        bench.settle(id, (0..n).map(|_| delivered()).collect());
    }
    let late = delivered_in(&mut bench, Duration::from_secs(1));
    // Requests are small at first, and each answer counts.
    assert!(late < 4 * early + 20, "{early} a second before the outage, {late} after");
}

#[test]
fn what_was_shed_has_used_no_quota() {
    let mut bench = Bench::new(paced());
    push(&mut bench, 1, 10);
    let (id, request) = next_cut(&mut bench);
    bench.deliver(id, &request);
    push(&mut bench, 9_000, 10);
    let end = bench.now + Duration::from_secs(5);
    let mut sheds = false;
    while bench.now < end {
        let (id, request) = next_cut(&mut bench);
        sheds = !sheds;
        if sheds {
            let shed = tower::load_shed::error::Overloaded::new();
            bench.pipeline.settle(id, Err(shed.into()), bench.now);
        } else {
            bench.deliver(id, &request);
        }
    }
    let delivered = bench.pipeline.totals().delivered;
    assert!(delivered > 4_500, "{delivered} of 5,000 that the shard would take");
}

/// Delivered records a second, of 5,000 of 100 B that come each second for one key of one shard.
fn aggregated_rate(linger: Linger) -> u64 {
    let packing = Packing { aggregation: Aggregation::PerKey, ..Packing::default() };
    let mut bench = Bench::new(Settings { linger, packing, buffer_records: 100_000, ..paced() });
    let mut flights: VecDeque<(Instant, RequestId, PutRecordsRequest)> = VecDeque::new();
    for _ in 0..10_000 {
        while flights.front().is_some_and(|(at, ..)| *at <= bench.now) {
            let (_, id, request) = flights.pop_front().unwrap();
            bench.deliver(id, &request);
        }
        for _ in 0..5 {
            let record = Record::from(("k", vec![b'.'; 100]));
            if bench.pipeline.has_room() {
                bench.pipeline.accept(record, bench.now).unwrap();
            }
            bench.pipeline.flush();
            while let Some((id, request, _)) = bench.pipeline.cut(bench.now) {
                flights.push_back((bench.now + ROUND_TRIP, id, request));
            }
        }
        bench.now += Duration::from_millis(1);
    }
    bench.pipeline.totals().delivered / 10
}

#[test]
fn aggregates_fill_while_their_lane_waits() {
    let fill = aggregated_rate(Linger::Fill(Duration::from_millis(100)));
    let clocked = aggregated_rate(Linger::SelfClocked(Duration::from_millis(100)));
    assert!(fill > 4_500 && clocked > 4_500, "filling {fill}, self-clocked {clocked}");
}

fn on_shard(bench: &mut Bench, shard: u64, of: u64, bytes: usize) {
    let place = (u128::from(shard) * 2 + 1) * (u128::MAX / (2 * u128::from(of)));
    let record = Record::from(("k", vec![b'.'; bytes])).with_explicit_hash_key(place);
    bench.pipeline.accept(record, bench.now).unwrap();
    bench.pipeline.flush();
}

fn placement(entry: &crate::service::Entry, of: u64) -> Placement {
    let shard = entry.explicit_hash_key().unwrap().get() / (u128::MAX / u128::from(of));
    Placement::new(format!("shardId-{shard:012}"), "1")
}

#[test]
fn one_throttle_at_the_start_does_not_stop_a_stream_without_keys() {
    let mut bench = Bench::new(Settings { buffer_records: 1_000_000, ..paced() });
    for _ in 0..500_000 {
        let record = Record::from("x").with_partition_key(PartitionKey::ServiceManaged);
        bench.pipeline.accept(record, bench.now).unwrap();
    }
    bench.pipeline.flush();
    let (id, request) = next_cut(&mut bench);
    let results = request.entries().iter().enumerate();
    bench.settle(
        id,
        results.map(|(n, _)| if n == 7 { failed(THROTTLE) } else { delivered() }).collect(),
    );
    let rate = delivered_in(&mut bench, Duration::from_secs(10)) / 10;
    assert!(rate > 5_000, "{rate} records a second");
}

fn requests_while_all_entries_fail(shards: u64, code: &str) -> u64 {
    let settings = Settings { seed: Some(7), ..Settings::default() };
    let mut bench = Bench::new(settings);
    (0..shards).for_each(|shard| on_shard(&mut bench, shard, shards, 10));
    let (id, request) = next_cut(&mut bench);
    bench.settle(id, request.entries().iter().map(|one| Ok(placement(one, shards))).collect());
    for _ in 0..20 {
        (0..shards).for_each(|shard| on_shard(&mut bench, shard, shards, 10));
    }
    let (end, before) = (bench.now + Duration::from_secs(30), bench.pipeline.totals().requests);
    while bench.now < end {
        let (id, request) = next_cut(&mut bench);
        bench.now += ROUND_TRIP;
        bench.settle(id, request.entries().iter().map(|_| failed(code)).collect());
    }
    bench.pipeline.totals().requests - before
}

#[test]
fn an_outage_told_entry_by_entry_is_probed_as_rarely() {
    let requests = [1, 8, 100].map(|n| requests_while_all_entries_fail(n, "InternalFailure"));
    assert!(requests.iter().all(|&n| n <= 40), "{requests:?} in 30 s with 1, 8, 100 shards");
}

#[test]
fn reshards_far_apart_are_listed_at_once() {
    let mut bench = Bench::new(Settings { lists_shards: true, ..settings() });
    let mut longest = Duration::ZERO;
    for n in 0..30_u64 {
        // A shard takes another's place: an hour apart.
        bench.now += Duration::from_secs(3600);
        push(&mut bench, 1, 10);
        let (id, _) = next_cut(&mut bench);
        bench.settle(id, vec![Ok(Placement::new(format!("shardId-{n:012}"), "1"))]);
        let waits = bench.pipeline.shards.wakeup(bench.now);
        longest = longest.max(waits.map_or(Duration::ZERO, |at| at - bench.now));
        bench.now += Duration::from_secs(60);
        if bench.lists() {
            let range = crate::shard::HashRange::new(
                crate::record::HashKey::new(0),
                crate::record::HashKey::new(u128::MAX),
            );
            let all = crate::shard::Shard::new(format!("shardId-{n:012}"), range.unwrap());
            bench.pipeline.listed(Some(crate::shard::ShardMap::new(vec![all]).unwrap()), bench.now);
        }
    }
    assert!(longest <= Duration::from_millis(100), "{longest:?}");
}

/// Requests answered in 10 s by a service that sheds all but two at a time.
fn requests_through_load_shed(max_in_flight: usize) -> usize {
    let mut bench = Bench::new(Settings { max_in_flight, buffer_records: 100_000, ..settings() });
    let mut flights: VecDeque<(Instant, RequestId, PutRecordsRequest)> = VecDeque::new();
    let mut answered = 0;
    for _ in 0..10_000 {
        while flights.front().is_some_and(|(at, ..)| *at <= bench.now) {
            let (_, id, request) = flights.pop_front().unwrap();
            bench.deliver(id, &request);
            answered += 1;
        }
        if bench.pipeline.waiting() < 5_000 {
            push(&mut bench, 5_000, 1);
        }
        while let Some((id, request, _)) = bench.pipeline.cut(bench.now) {
            if flights.len() < 2 {
                flights.push_back((bench.now + ROUND_TRIP, id, request));
            } else {
                let shed = tower::load_shed::error::Overloaded::new();
                bench.pipeline.settle(id, Err(shed.into()), bench.now);
            }
        }
        bench.now += Duration::from_millis(1);
    }
    answered
}

#[test]
fn load_shed_leaves_the_service_busy() {
    let [two, eight] = [2, 8].map(requests_through_load_shed);
    assert!(eight * 10 > two * 9, "{two} with two slots, {eight} with eight");
}

/// Records a second, of as many as the buffer takes, with 8 shards of which one has room for 50 only.
fn rate_beside_a_busy_shard(busy: bool) -> u64 {
    let mut bench = Bench::new(Settings { seed: Some(7), ..Settings::default() });
    let mut flights: VecDeque<(Instant, RequestId, PutRecordsRequest)> = VecDeque::new();
    let mut tokens = 0.0_f64;
    let mut half = 0;
    for ms in 0..60_000 {
        if ms == 30_000 {
            half = bench.pipeline.totals().delivered;
        }
        tokens = (tokens + 0.05).min(50.0);
        while flights.front().is_some_and(|(at, ..)| *at <= bench.now) {
            let (_, id, request) = flights.pop_front().unwrap();
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
            bench.settle(id, results);
        }
        while bench.pipeline.has_room() {
            bench.pipeline.accept(Record::from("0123456789"), bench.now).unwrap();
        }
        bench.pipeline.flush();
        while let Some((id, request, _)) = bench.pipeline.cut(bench.now) {
            flights.push_back((bench.now + ROUND_TRIP, id, request));
        }
        bench.now += Duration::from_millis(1);
    }
    (bench.pipeline.totals().delivered - half) / 30
}

#[test]
fn records_without_a_key_go_around_a_busy_shard() {
    let [free, busy] = [false, true].map(rate_beside_a_busy_shard);
    assert!(busy * 10 > free * 8, "{free} a second, {busy} with a busy shard of 8");
}

#[test]
fn an_aggregate_that_is_closed_after_an_idle_hour_goes() {
    for linger in [Linger::Fill, Linger::SelfClocked] {
        let linger = linger(Duration::from_millis(100));
        let packing = Packing { aggregation: Aggregation::PerKey, ..Packing::default() };
        let mut bench = Bench::new(Settings { linger, packing, ..paced() });
        for bytes in [10, 1_000_000] {
            push(&mut bench, 1, bytes);
            let (id, request) = next_cut(&mut bench);
            bench.deliver(id, &request);
        }
        // Until the debt is paid, and no longer.
        for _ in 0..2_000 {
            bench.now += Duration::from_millis(1);
            assert!(bench.pipeline.due(bench.now).is_none());
        }
        bench.now += Duration::from_secs(3600);
        push(&mut bench, 1, 20_000);
        let begun = bench.now;
        next_cut(&mut bench);
        assert!(bench.now - begun <= Duration::from_millis(100));
    }
}

#[test]
fn what_is_closed_for_a_request_never_leaves_it_empty() {
    let packing = Packing { aggregation: Aggregation::PerKey, ..Packing::default() };
    let fill = Linger::Fill(Duration::from_millis(100));
    let mut bench = Bench::new(Settings { packing, linger: fill, ..paced() });
    for bytes in [1, 230_000] {
        push(&mut bench, 1, bytes);
        let (id, request) = next_cut(&mut bench);
        bench.deliver(id, &request);
    }
    // Some 30 kB of tokens are left: enough for the one that is closed, too few for the older one.
    push(&mut bench, 4, 10_000);
    bench.pipeline.settings.packing.max_records = 1;
    bench.pipeline.accept(Record::from(("z", "y")), bench.now).unwrap();
    bench.pipeline.settings.packing.max_records = 1_000;
    bench.pipeline.close();
    let mut records = 0;
    while !bench.pipeline.is_settled() {
        let (id, request) = next_cut(&mut bench);
        assert!(!request.entries().is_empty());
        records += bench.pipeline.flights[&id].records;
        bench.deliver(id, &request);
    }
    assert_eq!(records, 5);
}

#[test]
fn in_order_a_share_grows_too_though_little_waits_in_its_lane() {
    for ordering in [Ordering::Unordered, Ordering::PerKey] {
        let packing = Packing { aggregation: Aggregation::PerKey, ..Packing::default() };
        let fill = Linger::Fill(Duration::from_millis(100));
        let mut bench = Bench::new(Settings { ordering, packing, linger: fill, ..paced() });
        for throttles in [0, 60] {
            push(&mut bench, 1, 10);
            let (mut id, mut request) = next_cut(&mut bench);
            for _ in 0..throttles {
                throttle(&mut bench, id, &request);
                (id, request) = next_cut(&mut bench);
            }
            bench.deliver(id, &request);
        }
        // 8 KB a second for some minutes, with 5 KB a second to begin with.
        let mut latest = Duration::ZERO;
        for _ in 0..8 * 180 {
            push(&mut bench, 1, 1_000);
            bench.now += Duration::from_millis(125);
            while let Some((id, request, _)) = bench.pipeline.cut(bench.now) {
                let oldest = bench.pipeline.flights[&id].units[0].oldest().accepted_at;
                latest = bench.now - oldest;
                bench.now += ROUND_TRIP;
                bench.deliver(id, &request);
            }
        }
        assert!(latest < Duration::from_millis(500), "{ordering:?}: {latest:?}");
    }
}

#[test]
fn one_record_that_is_rejected_stops_nobody_for_long() {
    let packing = Packing { aggregation: Aggregation::PerKey, ..Packing::default() };
    let fill = Linger::Fill(Duration::from_millis(100));
    let mut bench =
        Bench::new(Settings { ordering: Ordering::PerKey, packing, linger: fill, ..settings() });
    bench.pipeline.accept(Record::from(("k", "poison")), bench.now).unwrap();
    push(&mut bench, 400, 100);
    let begun = bench.now;
    while !bench.pipeline.is_settled() {
        let (id, request) = next_cut(&mut bench);
        bench.now += ROUND_TRIP;
        let is_bad = |data: &[u8]| data.windows(6).any(|window| window == b"poison");
        let answer = |entry: &crate::service::Entry| match is_bad(entry.data()) {
            true => failed("InvalidArgumentException"),
            false => delivered(),
        };
        bench.settle(id, request.entries().iter().map(answer).collect());
    }
    assert!(bench.now - begun < Duration::from_secs(2), "{:?}", bench.now - begun);
}
