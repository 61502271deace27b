use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::builder::Config;
use super::error::SimError;
use super::region::Target;
use super::state::State;
use super::{Faults, MAX_DURATION, SimBuilder, SimService, SimStats, Written};
use crate::build_error::BuildError;
use crate::shard::Shard;
use crate::stream::{Distribution, StreamId, StreamMode};

/// Handle to a simulated Kinesis stream.
///
/// Requires the feature `sim`. See the [module documentation](super).
///
/// A clone is another handle to the same stream. The `Debug` output contains the seed. If the last handle is dropped
/// during a panic, it prints the seed to stderr.
#[derive(Clone)]
pub struct SimStream {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    seed: u64,
    state: Mutex<State>,
    /// Locked while a chunk of a request is transmitted.
    link: tokio::sync::Mutex<()>,
}

impl SimStream {
    /// Creates a stream with `shards` shards. All other settings have the defaults of [`SimBuilder`].
    ///
    /// # Panics
    ///
    /// Panics if `shards` is not between 1 and 10,000.
    #[must_use]
    #[track_caller]
    pub fn new(shards: usize) -> Self {
        match Self::builder().with_shards(shards).build() {
            Ok(stream) => stream,
            Err(error) => panic!("{error}"),
        }
    }

    /// Returns a builder for a stream.
    pub fn builder() -> SimBuilder {
        SimBuilder::default()
    }

    pub(super) fn with_config(config: Config, seed: u64) -> Self {
        let state = Mutex::new(State::new(&config, seed));
        let link = tokio::sync::Mutex::new(());
        Self { inner: Arc::new(Inner { config, seed, state, link }) }
    }

    /// Returns a `tower::Service` that sends requests to the stream.
    ///
    /// Pass it to [`build_with`](crate::SinkBuilder::build_with), or wrap it in layers first.
    #[must_use]
    pub fn service(&self) -> SimService {
        SimService::new(Target::Stream(self.clone()))
    }

    /// Returns the seed. Pass it to [`SimBuilder::with_seed`] to reproduce a test run.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.inner.seed
    }

    /// Returns the name of the stream.
    #[must_use]
    pub fn id(&self) -> StreamId {
        self.config().id.clone()
    }

    /// Returns the ARN of the stream. Its region is `us-east-1`.
    #[must_use]
    pub fn arn(&self) -> &str {
        &self.config().arn
    }

    /// Splits an open shard in the middle of its hash key range.
    ///
    /// The shard is closed and two child shards are opened immediately. The real service needs some seconds to split a
    /// shard.
    ///
    /// # Errors
    ///
    /// Returns an error if the shard does not exist, is closed, or has a single hash key.
    pub fn split(&self, shard_id: &str) -> Result<(), BuildError> {
        let mut state = self.lock();
        let sequence = state.sequence;
        Ok(state.ring.split(shard_id, None, sequence, Instant::now())?)
    }

    /// Merges two open shards whose hash key ranges are adjacent.
    ///
    /// Both shards are closed and their child shard is opened immediately.
    ///
    /// # Errors
    ///
    /// Returns an error if a shard does not exist or is closed, or if the shards are not adjacent.
    pub fn merge(&self, shard_id: &str, adjacent: &str) -> Result<(), BuildError> {
        let mut state = self.lock();
        let sequence = state.sequence;
        Ok(state.ring.merge(shard_id, adjacent, sequence, Instant::now())?)
    }

    /// Closes all open shards, and opens `shards` new shards with hash key ranges of equal size.
    ///
    /// Does nothing if the stream already has `shards` open shards. The real service instead splits and merges shards
    /// over several minutes, and keeps shards that do not need to change.
    ///
    /// # Errors
    ///
    /// Returns an error if `shards` is not between 1 and 10,000.
    pub fn update_shard_count(&self, shards: usize) -> Result<(), BuildError> {
        let mut state = self.lock();
        let sequence = state.sequence;
        Ok(state.ring.update_count(shards, sequence, Instant::now())?)
    }

    /// Starts to delete the stream, like DeleteStream. The stream is deleted when `after` has elapsed.
    ///
    /// Until then, the state of the stream is `DELETING`: it accepts records, but it cannot list its shards, and resharding
    /// through the [client](Self::client) fails with `ResourceInUseException`. Afterwards, every request except reads
    /// fails with `ResourceNotFoundException`, including requests in flight.
    ///
    /// The DeleteStream API reference states that the service "might continue to accept data read and write operations
    /// on a stream in the DELETING state until the stream deletion is complete". To simulate a service that does not,
    /// use [`Faults::with_outage`].
    ///
    /// # Panics
    ///
    /// Panics if `after` is more than 1 h.
    #[track_caller]
    pub fn delete(&self, after: Duration) {
        assert!(after <= MAX_DURATION, "the delay is {after:?}; set at most 1 h");
        self.lock().delete(Instant::now() + after);
    }

    /// Sets how records are distributed over the shards, like UpdateStreamRecordDistributionStrategy.
    ///
    /// The distribution applies to all records that arrive at the stream after the call, including records of requests
    /// in flight. Descriptions show the new distribution immediately.
    ///
    /// # Errors
    ///
    /// Returns an error if `distribution` is [`Distribution::Auto`] and the stream is
    /// [provisioned](StreamMode::Provisioned), because only on-demand streams support this distribution.
    pub fn set_distribution(&self, distribution: Distribution) -> Result<(), BuildError> {
        let provisioned = self.config().description.mode() == StreamMode::Provisioned;
        if provisioned && distribution == Distribution::Auto {
            return Err(SimError::Provisioned.into());
        }
        self.lock().distribution = distribution;
        Ok(())
    }

    /// Sets the faults of requests that are sent after the call.
    pub fn set_faults(&self, faults: Faults) {
        self.lock().faults = Arc::new(faults);
    }

    /// Sets the number of records and bytes that each shard accepts per second, as
    /// [`with_shard_quota`](SimBuilder::with_shard_quota) does.
    ///
    /// The quota applies to the open shards and to shards that are opened later. Use this method to simulate an
    /// on-demand stream that scales without resharding.
    ///
    /// # Panics
    ///
    /// Panics if a value is 0.
    #[track_caller]
    pub fn set_shard_quota(&self, records_per_s: u32, bytes_per_s: u32) {
        assert!(records_per_s > 0, "the quota is 0 records/s; set at least 1");
        assert!(bytes_per_s > 0, "the quota is 0 bytes/s; set at least 1");
        self.lock().ring.set_quota(records_per_s, bytes_per_s, Instant::now());
    }

    /// Sets the share of each shard's quota that other producers use: 0.0 to 1.0.
    ///
    /// The share applies to records and to bytes, and to the open shards and shards that are opened later.
    ///
    /// # Panics
    ///
    /// Panics if `share` is not between 0.0 and 1.0.
    #[track_caller]
    pub fn set_load(&self, share: f64) {
        check_load(share);
        self.lock().ring.set_load(share, Instant::now());
    }

    /// Sets the share of one shard's quota that other producers use: 0.0 to 1.0.
    ///
    /// The next call of [`set_load`](Self::set_load) overrides this share. Child shards do not inherit it.
    ///
    /// # Errors
    ///
    /// Returns an error if the shard does not exist.
    ///
    /// # Panics
    ///
    /// Panics if `share` is not between 0.0 and 1.0.
    #[track_caller]
    pub fn set_shard_load(&self, shard_id: &str, share: f64) -> Result<(), BuildError> {
        check_load(share);
        Ok(self.lock().ring.set_shard_load(shard_id, share, Instant::now())?)
    }

    /// Returns the open shards, ordered by hash key range.
    #[must_use]
    pub fn shards(&self) -> Vec<Shard> {
        self.lock().ring.open_shards().cloned().collect()
    }

    /// Returns all accepted records in the order in which they were written.
    #[must_use]
    pub fn written(&self) -> Vec<Written> {
        self.lock().written.clone()
    }

    /// Returns the records of one open or closed shard in the order in which they were written.
    ///
    /// Returns no records if the shard does not exist.
    #[must_use]
    pub fn written_to(&self, shard_id: &str) -> Vec<Written> {
        let state = self.lock();
        let Ok(number) = state.ring.number(shard_id) else { return Vec::new() };
        let indexes = state.ring.shards[number].written.iter();
        indexes.map(|&index| state.written[index].clone()).collect()
    }

    /// Returns the counts of the requests sent to the stream and of their entries.
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
