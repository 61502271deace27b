use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::quota::Quota;
use super::{
    Faults, Latency, Limiter, MAX_DURATION, MAX_FRONT_ENDS, MAX_SHARDS, REGION, SimStream,
};
use crate::build_error::{BuildError, Bytes};
use crate::limits::MAX_RECORD_BYTES;
use crate::stream::{Distribution, StreamDescription, StreamId, StreamMode};

/// Builder for a [`SimStream`].
///
/// Requires the feature `sim`.
///
/// | setting | default | range |
/// |---|---|---|
/// | [name](Self::with_name) | `example` | a stream's name |
/// | [account](Self::with_account) | `123456789012` | 12 digits |
/// | [shards](Self::with_shards) | 1 | 1 to 10,000 |
/// | [seed](Self::with_seed) | random | any |
/// | [latency](Self::with_latency) | 20 ms | 0 s to 1 h |
/// | [bandwidth](Self::with_bandwidth) | unlimited | 1 B/s and up |
/// | [shard quota](Self::with_shard_quota) | 1,000 records/s, 1 MiB/s | 1/s and up |
/// | [burst](Self::with_burst) | 1 s | 0 s to 1 h |
/// | [byte burst](Self::with_byte_burst) | bytes of the burst | 0 B to 1 GiB |
/// | [limiter](Self::with_limiter) | token bucket | see [`Limiter`] |
/// | [faults](Self::with_faults) | none | |
/// | [load](Self::with_load) | 0.0 | 0.0 to 1.0 |
/// | [distribution](Self::with_distribution) | by partition key | |
/// | [mode](Self::with_mode) | on-demand | |
/// | [record size limit](Self::with_max_record_bytes) | 1 MiB | 1 B to 10 MiB |
/// | [kept bytes](Self::with_kept_bytes) | all | any |
///
/// ```
/// use std::time::Duration;
/// use kinesis_sink::sim::{Latency, SimStream};
///
/// let stream = SimStream::builder()
///     .with_name("clicks")
///     .with_shards(8)
///     .with_latency(Latency::log_normal(Duration::from_millis(15), 0.4))
///     .with_seed(7)
///     .build()?;
/// assert_eq!(stream.shards().len(), 8);
/// # Ok::<_, kinesis_sink::BuildError>(())
/// ```
#[derive(Clone)]
#[must_use = "`build` creates the stream"]
pub struct SimBuilder {
    name: String,
    account: String,
    shards: usize,
    seed: Option<u64>,
    latency: Latency,
    bandwidth: Option<u32>,
    quota: Quota,
    faults: Faults,
    load: f64,
    description: StreamDescription,
    kept_bytes: usize,
    keeps_written: bool,
}

/// Validated settings of a stream.
#[derive(Debug)]
pub(super) struct Config {
    pub(super) id: StreamId,
    pub(super) arn: Arc<str>,
    pub(super) account: String,
    pub(super) shards: usize,
    pub(super) latency: Latency,
    pub(super) bandwidth: Option<u32>,
    pub(super) quota: Quota,
    pub(super) faults: Faults,
    pub(super) load: f64,
    pub(super) description: StreamDescription,
    pub(super) kept_bytes: usize,
    pub(super) keeps_written: bool,
}

impl Default for SimBuilder {
    fn default() -> Self {
        Self {
            name: "example".to_owned(),
            account: "123456789012".to_owned(),
            shards: 1,
            seed: None,
            latency: Latency::constant(Duration::from_millis(20)),
            bandwidth: None,
            quota: Quota {
                records_per_s: 1_000,
                bytes_per_s: 1024 * 1024,
                burst: Duration::from_secs(1),
                byte_burst: None,
                limiter: Limiter::default(),
            },
            faults: Faults::default(),
            load: 0.0,
            description: StreamDescription::default(),
            kept_bytes: usize::MAX,
            keeps_written: true,
        }
    }
}

impl SimBuilder {
    /// Sets the name of the stream. Default: `example`.
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets the id of the account that owns the stream: 12 digits. Default: `123456789012`.
    pub fn with_account(mut self, account: impl Into<String>) -> Self {
        self.account = account.into();
        self
    }

    /// Sets the initial number of shards: 1 to 10,000. Default: 1.
    ///
    /// The hash key ranges of the shards have equal size.
    pub fn with_shards(mut self, shards: usize) -> Self {
        self.shards = shards;
        self
    }

    /// Sets the seed of the random number generator. Default: a random seed.
    ///
    /// [`SimStream::seed`] and the `Debug` output of the stream show the seed.
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Sets the round-trip time of all requests, including lookups and reads. Default: 20 ms.
    pub fn with_latency(mut self, latency: Latency) -> Self {
        self.latency = latency;
        self
    }

    /// Sets the bandwidth of the link to the stream in bytes per second: 1 or more. Default: unlimited.
    ///
    /// All PutRecords requests in flight share the bandwidth evenly. The size of a request is the size of its JSON
    /// body, in which data is encoded as base64. For example, 500 records of 1 KiB result in about 720 kB, which
    /// takes 22 s at 32,000 B/s (256 kbit/s). Responses and other requests do not use bandwidth.
    pub fn with_bandwidth(mut self, bytes_per_s: u32) -> Self {
        self.bandwidth = Some(bytes_per_s);
        self
    }

    /// Sets the number of records and bytes that each shard accepts per second: 1 or more of each. Default: 1,000
    /// records and 1 MiB.
    ///
    /// The size of a record includes its partition key. [`set_shard_quota`](SimStream::set_shard_quota) changes the
    /// quota of a running stream.
    pub fn with_shard_quota(mut self, records_per_s: u32, bytes_per_s: u32) -> Self {
        self.quota.records_per_s = records_per_s;
        self.quota.bytes_per_s = bytes_per_s;
        self
    }

    /// Sets the size of the burst that a shard accepts after a pause: 0 s to 1 h. Default: 1 s.
    ///
    /// The size is specified as the time in which the quota refills an empty token bucket. For example, with a quota of
    /// 1,000 records per second and a burst of 2 s, a shard accepts a burst of 2,000 records after a pause. A record
    /// that is larger than the burst is accepted if the bucket is full, and leaves the bucket with a deficit.
    ///
    /// The burst applies only to [token buckets](Limiter::token_bucket). Windows always last one second.
    pub fn with_burst(mut self, burst: Duration) -> Self {
        self.quota.burst = burst;
        self
    }

    /// Sets the number of bytes that a shard accepts in a burst after a pause: 0 B to 1 GiB. Default: the number of
    /// bytes that corresponds to [`with_burst`](Self::with_burst).
    ///
    /// This setting does not change the number of records in a burst. The shards of a real stream with a raised record
    /// size limit accept bursts of up to that limit, at most 10 MiB, and refill at the rate of the quota. See "Handle
    /// large records" in the Kinesis Data Streams developer guide.
    pub fn with_byte_burst(mut self, bytes: usize) -> Self {
        self.quota.byte_burst = Some(bytes);
        self
    }

    /// Sets the limiter that enforces the quota of each shard. Default: [`Limiter::token_bucket`].
    pub fn with_limiter(mut self, limiter: Limiter) -> Self {
        self.quota.limiter = limiter;
        self
    }

    /// Sets the faults of requests and entries. Default: none.
    ///
    /// [`set_faults`](SimStream::set_faults) changes the faults of a running stream.
    pub fn with_faults(mut self, faults: Faults) -> Self {
        self.faults = faults;
        self
    }

    /// Sets the share of each shard's quota that other producers use: 0.0 to 1.0. Default: 0.0.
    ///
    /// The share applies to records and bytes. It is subtracted from the quota before the quota is divided among
    /// [front ends](Limiter::with_front_ends). [`set_load`](SimStream::set_load) changes the share of a running stream.
    pub fn with_load(mut self, share: f64) -> Self {
        self.load = share;
        self
    }

    /// Sets how records are distributed over the shards. Default: [`Distribution::UserPartitionKey`].
    ///
    /// With [`Distribution::Auto`], each record is written to a random shard. Partition keys are ignored and can be
    /// missing. [`set_distribution`](SimStream::set_distribution) changes the distribution of a running stream.
    pub fn with_distribution(mut self, distribution: Distribution) -> Self {
        self.description = self.description.with_distribution(distribution);
        self
    }

    /// Sets the capacity mode of the stream. Default: [`StreamMode::OnDemand`].
    ///
    /// In provisioned mode, the stream always distributes records by partition key and ignores
    /// [`with_distribution`](Self::with_distribution).
    pub fn with_mode(mut self, mode: StreamMode) -> Self {
        self.description = self.description.with_mode(mode);
        self
    }

    /// Sets the maximum size of a record in bytes, including its partition key: 1 B to 10 MiB. Default: 1 MiB.
    ///
    /// DescribeStreamSummary reports the maximum in KiB, rounded down.
    pub fn with_max_record_bytes(mut self, bytes: usize) -> Self {
        self.description = self.description.with_max_record_bytes(bytes);
        self
    }

    /// Sets the maximum number of bytes of each payload that are stored. Default: no maximum.
    ///
    /// A maximum saves memory in long runs. If a payload is longer, the stream stores a copy of its beginning.
    /// Otherwise the stored payload shares its memory with the producer.
    pub fn with_kept_bytes(mut self, bytes: usize) -> Self {
        self.kept_bytes = bytes;
        self
    }

    /// Disables the storage of accepted records, for example for benchmarks.
    ///
    /// [`written`](SimStream::written) then returns no records, and neither do reads. [`stats`](SimStream::stats) still
    /// counts all accepted records.
    pub fn without_written(mut self) -> Self {
        self.keeps_written = false;
        self
    }

    /// Creates the stream. Its quota is initially unused.
    ///
    /// # Errors
    ///
    /// Returns an error if a setting is outside its range, or if the name or account is not valid.
    pub fn build(self) -> Result<SimStream, BuildError> {
        BuildError::check_range("shards", self.shards, 1..=MAX_SHARDS)?;
        BuildError::check_range("bandwidth", self.bandwidth.unwrap_or(1), 1..=u32::MAX)?;
        BuildError::check_range("records_per_s", self.quota.records_per_s, 1..=u32::MAX)?;
        let bytes = Bytes(self.quota.bytes_per_s.into());
        BuildError::check_range("bytes_per_s", bytes, Bytes(1)..=Bytes(u32::MAX.into()))?;
        BuildError::check_range("burst", self.quota.burst, Duration::ZERO..=MAX_DURATION)?;
        let bytes = Bytes::from(self.quota.byte_burst.unwrap_or(0));
        BuildError::check_range("byte_burst", bytes, Bytes(0)..=Bytes(1 << 30))?;
        BuildError::check_range("front_ends", self.quota.limiter.front_ends, 1..=MAX_FRONT_ENDS)?;
        BuildError::check_range("lag", self.quota.limiter.lag, Duration::ZERO..=MAX_DURATION)?;
        BuildError::check_range("load", self.load, 0.0..=1.0)?;
        let bytes = Bytes::from(self.description.max_record_bytes());
        BuildError::check_range("max_record_bytes", bytes, Bytes(1)..=MAX_RECORD_BYTES.into())?;
        let id: StreamId =
            format!("arn:aws:kinesis:{REGION}:{}:stream/{}", self.account, self.name).parse()?;
        let config = Config {
            arn: id.as_ref().into(),
            id: self.name.parse()?,
            account: self.account,
            shards: self.shards,
            latency: self.latency,
            bandwidth: self.bandwidth,
            quota: self.quota,
            faults: self.faults,
            load: self.load,
            description: self.description,
            kept_bytes: self.kept_bytes,
            keeps_written: self.keeps_written,
        };
        Ok(SimStream::with_config(config, self.seed.unwrap_or_else(|| fastrand::u64(..))))
    }
}

impl fmt::Debug for SimBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimBuilder")
            .field("name", &self.name)
            .field("shards", &self.shards)
            .field("seed", &self.seed)
            .field("latency", &self.latency)
            .field("bandwidth", &self.bandwidth)
            .field("quota", &self.quota)
            .field("faults", &self.faults)
            .field("load", &self.load)
            .finish_non_exhaustive()
    }
}
