//! Tests of the limiters that enforce the shard quota, and of quota changes.

use tokio::time::sleep;

use super::*;

fn limited(limiter: Limiter) -> SimStream {
    no_latency().with_limiter(limiter).build().unwrap()
}

fn limiters() -> [(&'static str, Limiter); 6] {
    [
        ("token bucket", Limiter::token_bucket()),
        ("fixed windows", Limiter::fixed_windows()),
        ("staggered windows", Limiter::staggered_windows()),
        ("sliding window", Limiter::sliding_window()),
        ("front ends", Limiter::token_bucket().with_front_ends(4)),
        ("lag", Limiter::token_bucket().with_lag(ms(100))),
    ]
}

/// Sends 10 entries every 5 ms for `seconds` seconds, and returns the number of accepted entries.
async fn accepted_in(stream: &SimStream, seconds: u64) -> usize {
    let mut accepted = 0;
    for _ in 0..seconds * 200 {
        accepted += put_small(stream, 10).await;
        sleep(ms(5)).await;
    }
    accepted
}

#[tokio::test(start_paused = true)]
async fn limiter_accepts_quota_under_overload() {
    for (name, limiter) in limiters() {
        let stream = limited(limiter);
        // Uses up the initial burst and the excess that a limiter with lag accepts.
        accepted_in(&stream, 2).await;
        let accepted = accepted_in(&stream, 6).await;
        // With a lag of 100 ms, up to 200 entries pass before the limiter counts them.
        assert!((5_800..=6_200).contains(&accepted), "{name}: {accepted}");
    }
}

#[tokio::test(start_paused = true)]
async fn limiter_subtracts_background_load() {
    for (name, limiter) in limiters() {
        let stream = limited(limiter);
        stream.set_load(0.75);
        // Uses up the full bucket at the start and repays the deficit that the lag causes.
        accepted_in(&stream, 3).await;
        let accepted = accepted_in(&stream, 6).await;
        assert!((1_300..=1_700).contains(&accepted), "{name}: {accepted}");
    }
}

#[tokio::test(start_paused = true)]
async fn limiter_follows_quota_changes() {
    for (name, limiter) in limiters() {
        let stream = limited(limiter);
        for quota in [1_000, 1_500, 500] {
            stream.set_shard_quota(quota, 1 << 20);
            accepted_in(&stream, 3).await;
            let accepted = accepted_in(&stream, 4).await as f64 / 4.0;
            let share = accepted / f64::from(quota);
            assert!((0.9..=1.1).contains(&share), "{name}: {accepted} of {quota}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn quota_change_applies_to_bytes_and_new_shards() {
    let stream = no_latency().with_shard_quota(1_000, 1_000).build().unwrap();
    stream.set_shard_quota(1_000, 500);
    let hundred = || (0..20).map(|_| entry("k", vec![0; 99])).collect();
    assert_eq!(put(&stream, hundred()).await.delivered(), 5);
    stream.split("shardId-000000000000").unwrap();
    assert_eq!(put(&stream, hundred()).await.delivered(), 5);
}

#[test]
#[should_panic(expected = "the quota is 0 records/s")]
fn zero_quota_is_rejected() {
    SimStream::new(1).set_shard_quota(0, 1);
}

#[tokio::test(start_paused = true)]
async fn fixed_windows_restart_at_full_seconds() {
    let stream = limited(Limiter::fixed_windows());
    sleep(ms(900)).await;
    assert_eq!(put_small(&stream, 1_500).await, 1_000);
    sleep(ms(99)).await;
    assert_eq!(put_small(&stream, 1).await, 0);
    stream.split("shardId-000000000000").unwrap();
    assert_eq!(put_small(&stream, 1_500).await, 1_000);
    sleep(ms(1)).await;
    assert_eq!(put_small(&stream, 1_500).await, 1_000);
}

#[tokio::test(start_paused = true)]
async fn seed_staggers_window_restarts() {
    let restarts = |seed| async move {
        let builder = no_latency().with_shards(3).with_seed(seed).with_shard_quota(1, 1 << 20);
        let stream = builder.with_limiter(Limiter::staggered_windows()).build().unwrap();
        let third = u128::MAX / 3;
        let each = || [0, 3 * third / 2, u128::MAX].map(|hash| at_hash(hash, "x")).to_vec();
        put(&stream, each()).await;
        let mut restarts = Vec::new();
        for milliseconds in 1..=1_000 {
            sleep(ms(1)).await;
            for written in put(&stream, each()).await.results().iter().flatten() {
                restarts.push((written.shard_id().to_owned(), milliseconds));
            }
        }
        restarts
    };
    let [one, again, other] = [restarts(1).await, restarts(1).await, restarts(2).await];
    assert_eq!(one.len(), 3, "not one restart per shard and second: {one:?}");
    assert!(one[0].1 + 10 < one[2].1, "restarts are not staggered: {one:?}");
    assert_eq!(one, again);
    assert_ne!(one, other);
}

#[tokio::test(start_paused = true)]
async fn sliding_window_frees_quota_after_second() {
    let stream = limited(Limiter::sliding_window());
    assert_eq!(put_small(&stream, 400).await, 400);
    sleep(ms(500)).await;
    assert_eq!(put_small(&stream, 1_000).await, 600);
    sleep(ms(499)).await;
    assert_eq!(put_small(&stream, 1_000).await, 0);
    sleep(ms(1)).await;
    assert_eq!(put_small(&stream, 1_000).await, 400);
}

#[tokio::test(start_paused = true)]
async fn front_ends_throttle_independently() {
    let stream = limited(Limiter::token_bucket().with_front_ends(4));
    let mut accepted = Vec::new();
    for _ in 0..40 {
        accepted.push(put_small(&stream, 100).await);
    }
    // Each of the four front ends accepts 250 entries. Requests reach them in random order.
    assert_eq!(accepted.iter().sum::<usize>(), 1_000);
    let first_refusal = accepted.iter().position(|count| *count < 100).unwrap();
    let later = accepted[first_refusal + 1..].contains(&100);
    assert!(later, "{accepted:?}");
}

#[tokio::test(start_paused = true)]
async fn lagging_limiter_repays_excess() {
    let stream = limited(Limiter::token_bucket().with_lag(ms(200)));
    assert_eq!(put_small(&stream, 2_000).await, 2_000);
    sleep(ms(199)).await;
    assert_eq!(put_small(&stream, 500).await, 500);
    sleep(ms(1)).await;
    assert_eq!(put_small(&stream, 1).await, 0);
    // The lag delays the charges: 1,000 entries above the bucket size are charged at 200 ms, and 500 at 399 ms. The
    // refill starts at 200 ms.
    sleep(ms(1_500)).await;
    assert_eq!(put_small(&stream, 1).await, 0);
    sleep(ms(1)).await;
    assert_eq!(put_small(&stream, 1).await, 1);
}

#[tokio::test(start_paused = true)]
async fn random_order_scatters_throttled_entries() {
    let stream = limited(Limiter::token_bucket().with_random_order());
    put_small(&stream, 800).await;
    let entries: Vec<_> = (0..400).map(|n| entry("k", n.to_string())).collect();
    let response = put(&stream, entries).await;
    let accepted: Vec<_> = response.results().iter().map(Result::is_ok).collect();
    let in_first_half = accepted[..200].iter().filter(|accepted| **accepted).count();
    assert_eq!(response.delivered(), 200);
    assert!((80..=120).contains(&in_first_half), "{in_first_half}");
    let written = stream.written();
    let numbers: Vec<u32> =
        texts(&written[800..]).iter().map(|text| text.parse().unwrap()).collect();
    assert!(numbers.is_sorted(), "not in the order of the request: {numbers:?}");
}

#[tokio::test(start_paused = true)]
async fn random_throttles_use_no_limiter_quota() {
    for (name, limiter) in limiters() {
        let faults = kinesis_sink::sim::Faults::default().with_throttles(0.5);
        let stream = no_latency().with_limiter(limiter).with_faults(faults).build().unwrap();
        // Half of the 2,000 entries offered per second reach the limiter, and only these use quota.
        accepted_in(&stream, 3).await;
        let accepted = accepted_in(&stream, 6).await;
        assert!((5_400..=6_200).contains(&accepted), "{name}: {accepted}");
    }
}

#[tokio::test(start_paused = true)]
async fn limiter_does_not_change_faults() {
    let faults = || kinesis_sink::sim::Faults::default().with_throttles(0.1);
    let mut verdicts = Vec::new();
    for limiter in [Limiter::token_bucket(), Limiter::staggered_windows()] {
        let stream = no_latency().with_limiter(limiter).with_faults(faults()).build().unwrap();
        let response = put(&stream, (0..500).map(|_| entry("k", "x")).collect()).await;
        verdicts.push(response.results().iter().map(Result::is_ok).collect::<Vec<_>>());
    }
    assert_eq!(verdicts[0], verdicts[1]);
}
