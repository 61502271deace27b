//! Changes the stream while records are offered. The events are reshards, outages, load, and quota changes.

use std::iter;
use std::time::Duration;

use fastrand::Rng;
use kinesis_sink::record::HashKey;
use kinesis_sink::sim::{Faults, Limiter, SimStream};
use kinesis_sink::stream::Distribution;
use tokio::time::{Instant, sleep_until};

#[derive(Debug, Clone, Copy)]
pub enum Event {
    Split,
    Merge,
    ShardCount(usize),
    Outage {
        duration: Duration,
    },
    /// Requests are lost and therefore get no response.
    Silence {
        duration: Duration,
    },
    /// Fraction of the quota that other producers use.
    Load(f64),
    Quota(u32, u32),
    #[allow(dead_code, reason = "only the model draws it")]
    Distribution(Distribution),
}

impl Event {
    fn duration(self) -> Option<Duration> {
        match self {
            Self::Outage { duration } | Self::Silence { duration } => Some(duration),
            _ => None,
        }
    }
}

/// One in three seeds has only reshards, so close together that shard listings are often stale when they arrive.
pub fn draw_events(rng: &mut Rng, time: Duration) -> Vec<(Duration, Event)> {
    let ms = Duration::from_millis;
    let only_reshards = rng.u8(..3) == 0;
    let (kinds, from) =
        if only_reshards { (4, time.mul_f64(rng.f64())) } else { (6, Duration::ZERO) };
    let within = if only_reshards { ms(rng.u64(20..=600)) } else { time };
    let mut events: Vec<_> = (0..rng.usize(0..=8))
        .map(|_| {
            let event = match rng.u8(..kinds) {
                0 | 1 => Event::Split,
                2 => Event::Merge,
                3 => Event::ShardCount(rng.usize(1..=8)),
                4 => Event::Outage { duration: ms(rng.u64(100..=2_000)) },
                _ => Event::Load(0.9 * rng.f64()),
            };
            (from + within.mul_f64(rng.f64()), event)
        })
        .collect();
    events.sort_by_key(|(at, _)| *at);
    events
}

/// Draws three quota changes for one in four seeds. Each multiplies the initial quota by 0.25 to 4.
pub fn draw_quota_changes(
    rng: &mut Rng,
    quota: (u32, u32),
    time: Duration,
) -> Vec<(Duration, Event)> {
    if rng.u8(..4) > 0 {
        return Vec::new();
    }
    let scaled = || {
        let factor = 0.25 * 16.0_f64.powf(rng.f64());
        let [records, bytes] = [quota.0, quota.1].map(|per_s| (f64::from(per_s) * factor) as u32);
        (time.mul_f64(rng.f64()), Event::Quota(records.max(1), bytes.max(1)))
    };
    iter::repeat_with(scaled).take(3).collect()
}

/// Returns a hash key within 1 of the start of one of `shards` equally sized shards.
pub fn near_border(shards: usize, value: HashKey) -> HashKey {
    let (shards, value) = (shards as u128, value.get());
    let (width, wider) = (u128::MAX / shards, u128::MAX % shards + 1);
    let shard = value / 3 % shards;
    let start = width * shard + shard.min(wider);
    HashKey::new(start.wrapping_add(value % 3).wrapping_sub(1))
}

pub fn draw_limiter(rng: &mut Rng) -> Limiter {
    let limiter = match rng.u8(..7) {
        0 => Limiter::fixed_windows(),
        1 => Limiter::staggered_windows(),
        2 => Limiter::sliding_window(),
        _ => Limiter::token_bucket(),
    };
    let limiter = match rng.u8(..3) {
        0 => limiter.with_front_ends(rng.usize(2..=5)),
        _ => limiter,
    };
    let limiter = match rng.u8(..3) {
        0 => limiter.with_lag(Duration::from_millis(rng.u64(1..=1_000))),
        _ => limiter,
    };
    if rng.bool() { limiter.with_random_order() } else { limiter }
}

/// Returns `true` if the limiter throttles exactly the entries that exceed the quota, at the end of the request.
pub fn is_plain(limiter: Limiter) -> bool {
    limiter == Limiter::token_bucket()
}

pub struct Plan<'a> {
    pub events: &'a [(Duration, Event)],
    /// Faults during the run, except while an outage or a silence lasts.
    pub faults: &'a Faults,
    pub faults_afterwards: Faults,
    pub time: Duration,
    pub seed: u64,
}

impl Plan<'_> {
    /// Applies each event at its time. Calls `note` at the start and after each change.
    pub async fn run(&self, stream: &SimStream, mut note: impl FnMut(&SimStream)) {
        let start = Instant::now();
        let mut rng = Rng::with_seed(self.seed);
        let mut changes: Vec<_> =
            self.events.iter().map(|(at, event)| (*at, Some(*event))).collect();
        for (at, event) in self.events {
            changes.extend(event.duration().map(|duration| (*at + duration, None)));
        }
        changes.sort_by_key(|(at, _)| *at);
        note(stream);
        for (at, change) in changes.into_iter().take_while(|(at, _)| *at < self.time) {
            sleep_until(start + at).await;
            match change {
                Some(event) => apply(event, stream, &mut rng),
                None => stream.set_faults(self.faults.clone()),
            }
            note(stream);
        }
        sleep_until(start + self.time).await;
        stream.set_faults(self.faults_afterwards.clone());
        stream.set_load(0.0);
    }
}

fn apply(event: Event, stream: &SimStream, rng: &mut Rng) {
    let shards = stream.shards();
    let place = rng.usize(..shards.len());
    match event {
        Event::Split => stream.split(shards[place].id()).expect("the shard is open"),
        Event::Merge if shards.len() > 1 => {
            let place = place.min(shards.len() - 2);
            let [one, other] = [&shards[place], &shards[place + 1]];
            stream.merge(one.id(), other.id()).expect("the shards are adjacent");
        }
        Event::Merge => {}
        Event::ShardCount(count) => {
            stream.update_shard_count(count).expect("the count is in range")
        }
        Event::Outage { .. } => {
            stream.set_faults(Faults::default().with_outage("ServiceUnavailable", 503));
        }
        Event::Silence { .. } => stream.set_faults(Faults::default().with_lost_requests(1.0)),
        Event::Load(share) => stream.set_load(share),
        Event::Quota(records, bytes) => stream.set_shard_quota(records, bytes),
        Event::Distribution(distribution) => {
            stream.set_distribution(distribution).expect("the stream is on-demand");
        }
    }
}
