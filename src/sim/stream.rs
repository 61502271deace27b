use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::builder::Config;
use super::error::SimError;
use super::state::State;
use super::{Faults, SimBuilder, SimService, SimStats, Written};
use crate::build_error::BuildError;
use crate::shard::Shard;
use crate::stream::{Distribution, StreamId, StreamMode};

/// A Kinesis stream in this process, on tokio's time; see the [module](super).
///
/// Needs the feature `sim`.
///
/// Cloning it gives another handle to the same stream. `Debug` tells the seed. When a test panics while it
/// holds the last handle, the seed goes to stderr as well.
#[derive(Clone)]
pub struct SimStream {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    seed: u64,
    state: Mutex<State>,
    /// Held while a piece of a request is transmitted.
    link: tokio::sync::Mutex<()>,
}

impl SimStream {
    /// A stream named `example` of so many even shards, 1 to 10,000, and otherwise as
    /// [`SimBuilder`] has it by default.
    ///
    /// # Panics
    ///
    /// The number of shards is out of range.
    #[must_use]
    #[track_caller]
    pub fn new(shards: usize) -> Self {
        match Self::builder().with_shards(shards).build() {
            Ok(stream) => stream,
            Err(error) => panic!("{error}"),
        }
    }

    /// A builder with all settings at their defaults, which has one shard.
    pub fn builder() -> SimBuilder {
        SimBuilder::default()
    }

    pub(super) fn with_config(config: Config, seed: u64) -> Self {
        let state = Mutex::new(State::new(&config, seed));
        let link = tokio::sync::Mutex::new(());
        Self { inner: Arc::new(Inner { config, seed, state, link }) }
    }

    /// The stream as a `tower::Service`, to build a sink over with
    /// [`build_with`](crate::SinkBuilder::build_with).
    #[must_use]
    pub fn service(&self) -> SimService {
        SimService::new(self.clone())
    }

    /// The seed of all that chance decides: give it to [`seed`](SimBuilder::with_seed) to see the same
    /// again.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.inner.seed
    }

    /// The stream's name.
    #[must_use]
    pub fn id(&self) -> StreamId {
        self.config().id.clone()
    }

    /// The stream's ARN, in the region `us-east-1`.
    #[must_use]
    pub fn arn(&self) -> &str {
        &self.config().arn
    }

    /// Splits an open shard in the middle of its range. It is closed, and two new shards share its range
    /// at once; the service takes some seconds for it.
    ///
    /// # Errors
    ///
    /// There is no such shard, it is closed, or it has a single hash key.
    pub fn split(&self, shard_id: &str) -> Result<(), BuildError> {
        let mut state = self.lock();
        let sequence = state.sequence;
        Ok(state.ring.split(shard_id, None, sequence, Instant::now())?)
    }

    /// Merges two open shards whose ranges touch. Both are closed, and a new one has their ranges at once.
    ///
    /// # Errors
    ///
    /// There are no such shards, one is closed, or they are not neighbours.
    pub fn merge(&self, shard_id: &str, adjacent: &str) -> Result<(), BuildError> {
        let mut state = self.lock();
        let sequence = state.sequence;
        Ok(state.ring.merge(shard_id, adjacent, sequence, Instant::now())?)
    }

    /// Closes all open shards and opens so many even ones, 1 to 10,000, at once. With as many as there
    /// are, nothing changes.
    ///
    /// The service gets there by splits and merges, over minutes, and keeps shards that are right already.
    ///
    /// # Errors
    ///
    /// The number is out of range.
    pub fn update_shard_count(&self, shards: usize) -> Result<(), BuildError> {
        let mut state = self.lock();
        let sequence = state.sequence;
        Ok(state.ring.update_count(shards, sequence, Instant::now())?)
    }

    /// Sets the distribution of the records that arrive from now on, as UpdateStreamRecordDistributionStrategy
    /// does on an on-demand stream. It also applies to requests in flight that are not written yet, and
    /// descriptions show it at once.
    ///
    /// # Errors
    ///
    /// The stream is [provisioned](StreamMode::Provisioned): the service has a strategy for on-demand streams
    /// only.
    pub fn set_distribution(&self, distribution: Distribution) -> Result<(), BuildError> {
        let provisioned = self.config().description.mode() == StreamMode::Provisioned;
        if provisioned && distribution == Distribution::Auto {
            return Err(SimError::Provisioned.into());
        }
        self.lock().distribution = distribution;
        Ok(())
    }

    /// Sets what goes wrong with the requests that are sent from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.lock().faults = Arc::new(faults);
    }

    /// Sets what each shard takes a second from now on, as
    /// [`with_shard_quota`](SimBuilder::with_shard_quota) does, like an on-demand stream that scales without a
    /// change of its shards. It also applies to shards that are opened later.
    ///
    /// # Panics
    ///
    /// One of them is 0.
    #[track_caller]
    pub fn set_shard_quota(&self, records_per_s: u32, bytes_per_s: u32) {
        assert!(records_per_s > 0, "the quota is 0 records/s; set it to 1 at least");
        assert!(bytes_per_s > 0, "the quota is 0 bytes/s; set it to 1 at least");
        self.lock().ring.set_quota(records_per_s, bytes_per_s, Instant::now());
    }

    /// Sets which share of each shard's quota, records and bytes, other producers use up from now on: 0.0 to
    /// 1.0. It holds for the shards that are opened later, too.
    ///
    /// # Panics
    ///
    /// The share is out of range.
    #[track_caller]
    pub fn set_load(&self, share: f64) {
        check_load(share);
        self.lock().ring.set_load(share, Instant::now());
    }

    /// Sets which share of one shard's quota other producers use up from now on: 0.0 to 1.0, until the
    /// next [`set_load`](Self::set_load). Its children do not inherit it.
    ///
    /// # Errors
    ///
    /// There is no such shard.
    ///
    /// # Panics
    ///
    /// The share is out of range.
    #[track_caller]
    pub fn set_shard_load(&self, shard_id: &str, share: f64) -> Result<(), BuildError> {
        check_load(share);
        Ok(self.lock().ring.set_shard_load(shard_id, share, Instant::now())?)
    }

    /// The open shards, in the order of their ranges, which cover the hash ring.
    #[must_use]
    pub fn shards(&self) -> Vec<Shard> {
        self.lock().ring.open_shards().cloned().collect()
    }

    /// All that was accepted, in the order in which it was written.
    #[must_use]
    pub fn written(&self) -> Vec<Written> {
        self.lock().written.clone()
    }

    /// What one shard, open or closed, has accepted, in the order in which it was written. Nothing if there
    /// is no such shard.
    #[must_use]
    pub fn written_to(&self, shard_id: &str) -> Vec<Written> {
        let state = self.lock();
        let Ok(number) = state.ring.number(shard_id) else { return Vec::new() };
        let places = state.ring.shards[number].written.iter();
        places.map(|&place| state.written[place].clone()).collect()
    }

    /// What the stream has seen until now.
    #[must_use]
    pub fn stats(&self) -> SimStats {
        self.lock().stats
    }

    pub(super) fn config(&self) -> &Config {
        &self.inner.config
    }

    pub(super) fn link(&self) -> &tokio::sync::Mutex<()> {
        &self.inner.link
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[track_caller]
fn check_load(share: f64) {
    assert!((0.0..=1.0).contains(&share), "the load is {share}; set it between 0.0 and 1.0");
}

impl Drop for Inner {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the simulated stream {} had the seed {}", self.config.id, self.seed);
        }
    }
}

impl fmt::Debug for SimStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("SimStream")
            .field("id", &self.config().id)
            .field("seed", &self.seed())
            .field("open_shards", &state.ring.open.len())
            .field("stats", &state.stats)
            .finish_non_exhaustive()
    }
}
