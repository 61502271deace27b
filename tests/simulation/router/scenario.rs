//! The scenario of a seed.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use kinesis_sink::budget::BudgetSettings;
use kinesis_sink::record::DeadLetterHandler;
use kinesis_sink::router::{RouterBuilder, RouterSettings, WhenFull};
use kinesis_sink::sim::{Latency, SimRegion, SimStream};
use kinesis_sink::{Aggregation, Router, Settings, StreamId, Undelivered};

use super::check::KEY_BYTES;
use super::faults::{Change, Fault};
use super::ledger::SharedLedger;
use super::settings::{self, DeadLetters};
use super::{ms, one_of, rarely};

#[derive(Debug)]
pub struct Scenario {
    pub seed: u64,
    pub streams: Vec<StreamPlan>,
    pub router: RouterSettings,
    /// Set to `true` if the router uses an SDK client instead of a service.
    pub uses_client: bool,
    /// Set to `true` if the budget has capacity for the fair share of each stream, and if all streams can be open. Streams
    /// without faults then make progress.
    pub is_roomy: bool,
    describes: bool,
    pub workers: usize,
    pub time: Duration,
    pub max_record_bytes: usize,
    pub max_burst: u64,
    pub max_pause: Duration,
    /// Set to `true` if all streams are repaired when the workers end.
    pub heals: bool,
    pub end: End,
    /// Time at which the router is closed while the workers run.
    pub closes_early_at: Option<Duration>,
}

#[derive(Debug)]
pub struct StreamPlan {
    pub name: String,
    seed: u64,
    shards: usize,
    quota: u32,
    latency: Duration,
    pub fault: Fault,
    pub changes: Vec<(Duration, Change)>,
    pub settings: Settings,
    dead_letters: DeadLetters,
    source: Source,
}

/// Place of the settings of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Streams,
    Closure,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Close,
    CloseWithin(Duration),
    DropAll,
}

impl Scenario {
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let time = ms(rng.u64(3_000..=25_000));
        let count = rng.usize(1..=10);
        let max_record_bytes = one_of(&mut rng, &[100, 100, 1_000, 10_000]);
        let streams: Vec<_> =
            (0..count).map(|index| StreamPlan::draw(&mut rng, index, time)).collect();
        let is_roomy = !rarely(&mut rng, 3);
        let mut router = RouterSettings::default();
        router.budget = if is_roomy {
            roomy_budget(&mut rng, count, max_record_bytes)
        } else {
            tight_budget(&mut rng, max_record_bytes)
        };
        router.idle_timeout = ms(rng.u64(1_000..=5_000));
        router.max_streams = if is_roomy { count + rng.usize(..2) } else { rng.usize(1..=count) };
        router.when_full = one_of(&mut rng, &[WhenFull::Evict, WhenFull::Reject]);
        let with_settings = streams.iter().filter(|stream| stream.source == Source::Streams);
        router.streams =
            with_settings.map(|stream| (stream.id(), stream.settings.clone())).collect();
        let heals = !rarely(&mut rng, 4);
        Self {
            seed,
            streams,
            router,
            uses_client: rarely(&mut rng, 8),
            is_roomy,
            describes: rng.bool(),
            workers: rng.usize(1..=5),
            time,
            max_record_bytes,
            max_burst: one_of(&mut rng, &[1, 5, 30]),
            max_pause: ms(one_of(&mut rng, &[20, 200])),
            heals,
            end: match rng.u8(..4) {
                _ if !heals => End::CloseWithin(ms(rng.u64(..=3_000))),
                0 => End::CloseWithin(ms(rng.u64(..=3_000))),
                1 => End::DropAll,
                _ => End::Close,
            },
            closes_early_at: rarely(&mut rng, 6).then(|| time.mul_f64(rng.f64())),
        }
    }

    /// Returns a builder with the settings of all streams.
    pub fn builder(self: &Arc<Self>, region: &SimRegion, ledger: &SharedLedger) -> RouterBuilder {
        let (scenario, region, ledger) = (self.clone(), region.clone(), ledger.clone());
        Router::builder().with_settings(self.router.clone()).configure_stream(move |id, builder| {
            let Some(index) = scenario.streams.iter().position(|plan| plan.id() == *id) else {
                return builder;
            };
            ledger.lock().note_opened(index);
            let plan = &scenario.streams[index];
            let mut builder = match plan.source {
                Source::Streams => builder,
                Source::Closure => builder.with_settings(plan.settings.clone()),
            };
            // Aggregation per shard needs the shards. The client lists them itself.
            let needs_shards = plan.settings.aggregation == Aggregation::PerShard;
            if scenario.describes || needs_shards && !scenario.uses_client {
                builder = builder.with_stream_info(region.clone());
            }
            if plan.dead_letters == DeadLetters::None {
                return builder;
            }
            let declines_third = plan.dead_letters == DeadLetters::DeclinesThird;
            builder.with_dead_letter_handler(Handler { ledger: ledger.clone(), declines_third })
        })
    }
}

/// Draws a budget in which the reserve of each stream has capacity for at least one record.
fn roomy_budget(rng: &mut Rng, streams: usize, max_record_bytes: usize) -> BudgetSettings {
    let mut budget = BudgetSettings::default();
    // Half of the budget consists of reserves, whose number is a power of two.
    let parts = 2 * streams.next_power_of_two();
    budget.buffer_records = parts * rng.usize(1..=50);
    budget.buffer_bytes = parts * (max_record_bytes + KEY_BYTES) * rng.usize(1..=50);
    budget.max_in_flight = rng.usize(1..=8);
    budget
}

fn tight_budget(rng: &mut Rng, max_record_bytes: usize) -> BudgetSettings {
    let mut budget = BudgetSettings::default();
    budget.buffer_records = rng.usize(1..=10);
    budget.buffer_bytes = rng.usize(1..=4 * max_record_bytes);
    budget.max_in_flight = rng.usize(1..=3);
    budget
}

impl StreamPlan {
    fn draw(rng: &mut Rng, index: usize, time: Duration) -> Self {
        let fault = Fault::draw(rng);
        Self {
            name: format!("stream-{index}"),
            seed: rng.u64(..),
            shards: rng.usize(1..=4),
            quota: rng.u32(50..=1_000),
            latency: fault.latency(rng),
            fault,
            changes: fault.changes(rng, time),
            settings: settings::draw(rng, fault == Fault::None),
            dead_letters: DeadLetters::draw(rng),
            source: one_of(rng, &[Source::Streams, Source::Closure]),
        }
    }

    pub fn id(&self) -> StreamId {
        self.name.parse().expect("the name is valid")
    }

    /// Creates the stream.
    pub fn stream(&self) -> SimStream {
        let builder = SimStream::builder()
            .with_name(&self.name)
            .with_seed(self.seed)
            .with_shards(self.shards)
            .with_shard_quota(self.quota, 1 << 20)
            .with_latency(Latency::constant(self.latency));
        builder.build().expect("the settings are valid")
    }
}

struct Handler {
    ledger: SharedLedger,
    declines_third: bool,
}

impl DeadLetterHandler for Handler {
    fn put(&mut self, undelivered: Undelivered) -> Option<Undelivered> {
        let mut ledger = self.ledger.lock();
        if self.declines_third && ledger.number_of(undelivered.record()).is_multiple_of(3) {
            return Some(undelivered);
        }
        ledger.coverage.count("a dead letter", 1);
        ledger.note_returned(&undelivered);
        None
    }
}
