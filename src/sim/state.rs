//! What a stream holds, and how it answers a request that has arrived.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use tokio::time::Instant;

use super::SimStats;
use super::builder::Config;
use super::faults::{Fate, Faults, INTERNAL_FAILURE, message_of};
use super::ring::{Ring, SimShard};
use super::validation::check;
use super::written::{Written, sequence_number};
use crate::service::{
    Entry, EntryError, Placement, PutRecordsError, PutRecordsRequest, PutRecordsResponse,
};
use crate::shard::hash_of;
use crate::stream::{Distribution, StreamDescription, StreamMode};

pub(super) const THROTTLE: &str = "ProvisionedThroughputExceededException";

#[derive(Debug)]
pub(super) struct State {
    /// Gives each PutRecords request one of its own, so that what befalls it does not depend on when
    /// others arrive.
    rng: Rng,
    /// For all other requests, so that those do not change what befalls the former.
    lookup_rng: Rng,
    pub(super) faults: Arc<Faults>,
    pub(super) ring: Ring,
    pub(super) written: Vec<Written>,
    /// Of the next record.
    pub(super) sequence: u64,
    pub(super) stats: SimStats,
    /// The distribution of the records that arrive from now on.
    pub(super) distribution: Distribution,
    /// Of HTTP, to tell them apart.
    answers: u64,
    pub(super) started: Instant,
}

/// What was drawn for one request when it was sent.
#[derive(Debug)]
pub(super) struct Drawn {
    pub(super) fate: Fate,
    pub(super) round_trip: Duration,
    faults: Arc<Faults>,
    rng: Rng,
}

/// What becomes of an entry that has arrived. Shards are given by their number.
#[derive(Debug, Clone, Copy)]
enum Verdict {
    Fails,
    Throttled(usize),
    Admitted(usize),
}

impl State {
    pub(super) fn new(config: &Config, seed: u64) -> Self {
        let (started, mut rng) = (Instant::now(), Rng::with_seed(seed));
        Self {
            lookup_rng: rng.fork(),
            rng,
            faults: Arc::new(config.faults.clone()),
            ring: Ring::new(config.shards, config.quota, config.load, seed, started),
            written: Vec::new(),
            sequence: 1,
            stats: SimStats::default(),
            distribution: match config.description.mode() {
                StreamMode::Provisioned => Distribution::UserPartitionKey,
                StreamMode::OnDemand => config.description.distribution(),
            },
            answers: 0,
            started,
        }
    }

    /// Draws all that chance has to say about a PutRecords request.
    pub(super) fn draw(&mut self, config: &Config) -> Drawn {
        let mut rng = self.rng.fork();
        let round_trip = config.latency.draw(&mut rng);
        let faults = Arc::clone(&self.faults);
        let fate = faults.draw(&mut rng);
        self.stats.requests += 1;
        match fate {
            Fate::Served => {}
            // Counted when it is answered.
            Fate::Fails(_) => {}
            Fate::RequestLost => self.stats.lost_requests += 1,
            Fate::AnswerLost => self.stats.lost_answers += 1,
            Fate::Late { .. } => self.stats.late_requests += 1,
        }
        Drawn { fate, round_trip, faults, rng }
    }

    /// Counts the answers of HTTP.
    pub(super) fn next_answer(&mut self) -> u64 {
        self.answers += 1;
        self.answers
    }

    /// Counts a PutRecords request that cannot be read.
    pub(super) fn count_unreadable(&mut self) {
        self.stats.requests += 1;
        self.stats.failed_requests += 1;
    }

    /// The time that a request takes that writes nothing.
    pub(super) fn draw_lookup(&mut self, config: &Config) -> Duration {
        config.latency.draw(&mut self.lookup_rng)
    }

    /// Whether the service places the records itself.
    pub(super) fn ignores_keys(&self) -> bool {
        self.distribution == Distribution::Auto
    }

    /// The stream's description as it is now.
    pub(super) fn description(&self, config: &Config) -> StreamDescription {
        config.description.with_distribution(self.distribution)
    }

    /// Answers a PutRecords request that has arrived.
    pub(super) fn put(
        &mut self,
        config: &Config,
        request: &PutRecordsRequest,
        mut drawn: Drawn,
    ) -> Result<PutRecordsResponse, PutRecordsError> {
        let valid = match &drawn.fate {
            Fate::Fails(failure) => Err(failure.error()),
            _ => match drawn.faults.poison_of(request) {
                Some(error) => Err(error),
                None => check(config, self.ignores_keys(), request),
            },
        };
        if let Err(error) = valid {
            self.stats.failed_requests += 1;
            return Err(error);
        }
        let now = Instant::now();
        let verdicts = self.admit(config, request.entries(), &mut drawn.rng, &drawn.faults, now);
        let results = request.entries().iter().zip(verdicts).map(|(entry, verdict)| {
            let result = self.write(config, entry, verdict, now);
            self.count(entry, &result);
            result
        });
        Ok(PutRecordsResponse::new(results.collect()))
    }

    /// Decides about each entry of a request.
    fn admit(
        &mut self,
        config: &Config,
        entries: &[Entry],
        rng: &mut Rng,
        faults: &Faults,
        now: Instant,
    ) -> Vec<Verdict> {
        let limiter = config.quota.limiter;
        let front_end = if limiter.front_ends > 1 { rng.usize(..limiter.front_ends) } else { 0 };
        let mut order: Vec<_> = (0..entries.len()).collect();
        if limiter.random_order {
            rng.shuffle(&mut order);
        }
        let mut verdicts = vec![Verdict::Fails; entries.len()];
        for place in order {
            let entry = &entries[place];
            if faults.is_poisoned(entry) || faults.draw_internal_failure(rng) {
                continue;
            }
            let number = self.place(entry, rng);
            let limiter = &mut self.ring.shards[number].limiter;
            let passes = !faults.draw_throttle(rng) && limiter.admit(front_end, entry.size(), now);
            verdicts[place] =
                if passes { Verdict::Admitted(number) } else { Verdict::Throttled(number) };
        }
        verdicts
    }

    fn write(
        &mut self,
        config: &Config,
        entry: &Entry,
        verdict: Verdict,
        now: Instant,
    ) -> Result<Placement, EntryError> {
        let number = match verdict {
            Verdict::Fails => {
                return Err(EntryError::new(INTERNAL_FAILURE, message_of(INTERNAL_FAILURE)));
            }
            Verdict::Throttled(number) => {
                let SimShard { id, throttle, .. } = &mut self.ring.shards[number];
                let (name, account) = (config.id.name(), &config.account);
                let error = || {
                    let message = format!(
                        "Rate exceeded for shard {id} in stream {name} under account {account}."
                    );
                    EntryError::new(THROTTLE, message)
                };
                return Err(throttle.get_or_insert_with(error).clone());
            }
            Verdict::Admitted(number) => number,
        };
        let shard = &mut self.ring.shards[number];
        let placement = Placement::new(shard.id.as_str(), sequence_number(self.sequence));
        if config.keeps_written {
            let at = now.saturating_duration_since(self.started);
            let id = shard.id.clone();
            shard.written.push(self.written.len());
            self.written.push(Written::new(entry, id, self.sequence, config.kept_bytes, at));
        }
        self.sequence += 1;
        Ok(placement)
    }

    /// The number of the shard that takes the entry.
    fn place(&self, entry: &Entry, rng: &mut Rng) -> usize {
        let key = entry.partition_key().filter(|_| !self.ignores_keys());
        match (key, entry.explicit_hash_key()) {
            (Some(_), Some(hash)) => self.ring.find(hash),
            (Some(key), None) => self.ring.find(hash_of(key)),
            (None, _) => self.ring.open[rng.usize(..self.ring.open.len())],
        }
    }

    fn count(&mut self, entry: &Entry, result: &Result<Placement, EntryError>) {
        let stats = &mut self.stats;
        stats.entries += 1;
        match result {
            Ok(_) => {
                stats.accepted_entries += 1;
                stats.accepted_bytes += entry.size() as u64;
            }
            Err(error) if error.code() == THROTTLE => stats.throttled_entries += 1,
            Err(_) => stats.failed_entries += 1,
        }
    }
}
