use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use tokio::time::Instant;

use super::SimStats;
use super::builder::Config;
use super::faults::{Faults, INTERNAL_FAILURE, RequestOutcome, message_of};
use super::ring::{Ring, SimShard};
use super::validation::{check_request, in_use, no_such_stream};
use super::written::{Written, sequence_number};
use crate::service::{
    Entry, EntryError, Placement, PutRecordsError, PutRecordsRequest, PutRecordsResponse,
};
use crate::shard::hash_of;
use crate::stream::{Distribution, StreamDescription, StreamId, StreamMode};

pub(super) const THROTTLE: &str = "ProvisionedThroughputExceededException";

#[derive(Debug)]
pub(super) struct State {
    /// Forked for each PutRecords request, so that the outcome does not depend on when other requests arrive.
    rng: Rng,
    /// Separate generator, so that lookups do not change the outcomes of PutRecords requests.
    lookup_rng: Rng,
    pub(super) faults: Arc<Faults>,
    pub(super) ring: Ring,
    pub(super) written: Vec<Written>,
    pub(super) sequence: u64,
    pub(super) stats: SimStats,
    pub(super) distribution: Distribution,
    responses: u64,
    pub(super) started: Instant,
    /// Time at which the stream is deleted.
    deleted_at: Option<Instant>,
}

/// Random outcome of one request, drawn when the request is sent.
#[derive(Debug)]
pub(super) struct RequestPlan {
    pub(super) outcome: RequestOutcome,
    pub(super) round_trip: Duration,
    faults: Arc<Faults>,
    rng: Rng,
}

/// Outcome of an entry, with the number of its shard if the entry was routed to one.
#[derive(Debug, Clone, Copy)]
enum EntryOutcome {
    Fails,
    Throttled(usize),
    Admitted(usize),
}

impl State {
    pub(super) fn new(config: &Config, seed: u64) -> Self {
        let started = Instant::now();
        let mut rng = Rng::with_seed(seed);
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
            responses: 0,
            started,
            deleted_at: None,
        }
    }

    /// Starts to delete the stream. An earlier deletion is not postponed.
    pub(super) fn delete(&mut self, at: Instant) {
        self.deleted_at = Some(self.deleted_at.map_or(at, |earlier| earlier.min(at)));
    }

    pub(super) fn is_deleting(&self) -> bool {
        self.deleted_at.is_some()
    }

    /// Returns an error if the request is for another stream, or if the stream has been deleted.
    pub(super) fn check_stream(
        &self,
        config: &Config,
        requested: &StreamId,
    ) -> Result<(), PutRecordsError> {
        let is_same = match requested.arn() {
            Some(arn) => config.arn.as_ref() == arn,
            None => config.id == *requested,
        };
        let is_deleted = self.deleted_at.is_some_and(|at| at <= Instant::now());
        if is_same && !is_deleted { Ok(()) } else { Err(no_such_stream(config, requested)) }
    }

    /// Returns an error unless the request is for this stream and the stream is active, so that it can be resharded.
    pub(super) fn check_active(
        &self,
        config: &Config,
        requested: &StreamId,
    ) -> Result<(), PutRecordsError> {
        self.check_stream(config, requested)?;
        if self.is_deleting() { Err(in_use(config)) } else { Ok(()) }
    }

    /// Draws the outcome of a PutRecords request, and counts the request.
    pub(super) fn plan_request(&mut self, config: &Config) -> RequestPlan {
        let mut rng = self.rng.fork();
        let round_trip = config.latency.draw(&mut rng);
        let faults = Arc::clone(&self.faults);
        let outcome = faults.draw(&mut rng);
        self.stats.requests += 1;
        match outcome {
            // `put` counts failed requests.
            RequestOutcome::Served | RequestOutcome::Fails(_) => {}
            RequestOutcome::RequestLost => self.stats.lost_requests += 1,
            RequestOutcome::AnswerLost => self.stats.lost_answers += 1,
            RequestOutcome::Late { .. } => self.stats.late_requests += 1,
        }
        RequestPlan { outcome, round_trip, faults, rng }
    }

    pub(super) fn next_response(&mut self) -> u64 {
        self.responses += 1;
        self.responses
    }

    pub(super) fn count_invalid(&mut self) {
        self.stats.requests += 1;
        self.stats.failed_requests += 1;
    }

    /// Draws the round-trip time of a request that is not a PutRecords request.
    pub(super) fn draw_lookup(&mut self, config: &Config) -> Duration {
        config.latency.draw(&mut self.lookup_rng)
    }

    pub(super) fn ignores_keys(&self) -> bool {
        self.distribution == Distribution::Auto
    }

    pub(super) fn description(&self, config: &Config) -> StreamDescription {
        config.description.with_distribution(self.distribution)
    }

    pub(super) fn put(
        &mut self,
        config: &Config,
        request: &PutRecordsRequest,
        mut plan: RequestPlan,
    ) -> Result<PutRecordsResponse, PutRecordsError> {
        let checked = match &plan.outcome {
            RequestOutcome::Fails(failure) => Err(failure.error()),
            _ => match plan.faults.poison_error(request) {
                Some(error) => Err(error),
                None => check_request(config, self, request),
            },
        };
        if let Err(error) = checked {
            self.stats.failed_requests += 1;
            return Err(error);
        }
        let now = Instant::now();
        let outcomes = self.admit(config, request.entries(), &mut plan.rng, &plan.faults, now);
        let results = request.entries().iter().zip(outcomes).map(|(entry, outcome)| {
            let result = self.write(config, entry, outcome, now);
            self.count(entry, &result);
            result
        });
        Ok(PutRecordsResponse::new(results.collect()))
    }

    fn admit(
        &mut self,
        config: &Config,
        entries: &[Entry],
        rng: &mut Rng,
        faults: &Faults,
        now: Instant,
    ) -> Vec<EntryOutcome> {
        let limiter = config.quota.limiter;
        let front_end = if limiter.front_ends > 1 { rng.usize(..limiter.front_ends) } else { 0 };
        let mut order: Vec<_> = (0..entries.len()).collect();
        if limiter.random_order {
            rng.shuffle(&mut order);
        }
        let mut outcomes = vec![EntryOutcome::Fails; entries.len()];
        for index in order {
            let entry = &entries[index];
            if faults.is_poisoned(entry) || faults.draw_internal_failure(rng) {
                continue;
            }
            let number = self.route(entry, rng);
            let limiter = &mut self.ring.shards[number].limiter;
            let passes = !faults.draw_throttle(rng) && limiter.admit(front_end, entry.size(), now);
            outcomes[index] = if passes {
                EntryOutcome::Admitted(number)
            } else {
                EntryOutcome::Throttled(number)
            };
        }
        outcomes
    }

    fn write(
        &mut self,
        config: &Config,
        entry: &Entry,
        outcome: EntryOutcome,
        now: Instant,
    ) -> Result<Placement, EntryError> {
        let number = match outcome {
            EntryOutcome::Fails => {
                return Err(EntryError::new(INTERNAL_FAILURE, message_of(INTERNAL_FAILURE)));
            }
            EntryOutcome::Throttled(number) => {
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
            EntryOutcome::Admitted(number) => number,
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

    fn route(&self, entry: &Entry, rng: &mut Rng) -> usize {
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
