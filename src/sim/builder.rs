use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::quota::Quota;
use super::{Faults, LONGEST, Latency, Limiter, MAX_FRONT_ENDS, MAX_SHARDS, REGION, SimStream};
use crate::build_error::{BuildError, Bytes};
use crate::limits::MAX_RECORD_BYTES;
use crate::stream::{Distribution, StreamDescription, StreamId, StreamMode};

/// Sets up a [`SimStream`].
///
/// Needs the feature `sim`.
///
/// | setting | default | range |
/// |---|---|---|
/// | [name](Self::with_name) | `example` | a stream's name |
/// | [account](Self::with_account) | `123456789012` | 12 digits |
/// | [shards](Self::with_shards) | 1 | 1 to 10,000 |
/// | [seed](Self::with_seed) | drawn | any |
/// | [latency](Self::with_latency) | 20 ms | 0 s to 1 h |
/// | [bandwidth](Self::with_bandwidth) | unlimited | 1 B/s and up |
/// | [shard quota](Self::with_shard_quota) | 1,000 records/s, 1 MiB/s | 1/s and up |
/// | [burst](Self::with_burst) | 1 s | 0 s to 1 h |
/// | [byte burst](Self::with_byte_burst) | as the burst | 0 B to 1 GiB |
/// | [limiter](Self::with_limiter) | token bucket | see [`Limiter`] |
/// | [faults](Self::with_faults) | none | |
/// | [load](Self::with_load) | 0.0 | 0.0 to 1.0 |
/// | [distribution](Self::with_distribution) | by partition key | |
/// | [mode](Self::with_mode) | on-demand | |
/// | [record bytes](Self::with_max_record_bytes) | 1 MiB | 1 B to 10 MiB |
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
#[must_use = "`build` makes the stream"]
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

/// The settings of a stream that was built.
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
    /// Sets the stream's name; by default `example`.
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets the account that owns the stream, 12 digits; by default `123456789012`.
    pub fn with_account(mut self, account: impl Into<String>) -> Self {
        self.account = account.into();
        self
    }

    /// Sets with how many shards it begins, each with an even piece of the hash ring: 1 to 10,000, by
    /// default 1.
    pub fn with_shards(mut self, shards: usize) -> Self {
        self.shards = shards;
        self
    }

    /// Sets the seed of all that chance decides. By default it is drawn; a stream's
    /// [`seed`](SimStream::seed) and `Debug` tell it.
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Sets how long requests take, lookups and readers' included; by default 20 ms each.
    pub fn with_latency(mut self, latency: Latency) -> Self {
        self.latency = latency;
        self
    }

    /// Sets how many bytes a second the link to the stream transmits: at least 1, by default unlimited. The
    /// PutRecords requests in flight share it evenly. They are counted with their size in
    /// JSON, where data is in base64: 500 records of 1 KiB are about 720 kB, 22 s at 32,000 B/s (256 kbit/s).
    /// Answers and all other requests take no time on the link.
    pub fn with_bandwidth(mut self, bytes_per_s: u32) -> Self {
        self.bandwidth = Some(bytes_per_s);
        self
    }

    /// Sets what each shard takes a second, 1 at least of each; by default 1,000 records and 1 MiB. Bytes
    /// are those of data and partition keys. [`set_shard_quota`](SimStream::set_shard_quota) changes it
    /// later.
    pub fn with_shard_quota(mut self, records_per_s: u32, bytes_per_s: u32) -> Self {
        self.quota.records_per_s = records_per_s;
        self.quota.bytes_per_s = bytes_per_s;
        self
    }

    /// Sets how much of the quota a shard takes at once after a pause: as much as in this time. 0 s to
    /// 1 h, by default 1 s.
    ///
    /// A record larger than that is taken when nothing of the quota is used up, and the shard then owes the
    /// difference.
    ///
    /// It applies to [token buckets](Limiter::token_bucket) only. Windows always last one second.
    pub fn with_burst(mut self, burst: Duration) -> Self {
        self.quota.burst = burst;
        self
    }

    /// Sets how many bytes a shard takes at once after a pause: 0 B to 1 GiB, by default those of the
    /// [burst](Self::with_burst), which goes on to hold for records. A stream that takes large records bursts
    /// to their size, 10 MiB at most, and refills at the rate of the quota.
    ///
    /// Source: Kinesis Data Streams developer guide, "Handle large records".
    pub fn with_byte_burst(mut self, bytes: usize) -> Self {
        self.quota.byte_burst = Some(bytes);
        self
    }

    /// Sets how the shards enforce their quota; by default with [token buckets](Limiter::token_bucket).
    pub fn with_limiter(mut self, limiter: Limiter) -> Self {
        self.quota.limiter = limiter;
        self
    }

    /// Sets what goes wrong; by default nothing does. [`set_faults`](SimStream::set_faults) changes it
    /// later.
    pub fn with_faults(mut self, faults: Faults) -> Self {
        self.faults = faults;
        self
    }

    /// Sets which share of each shard's quota, records and bytes, other producers use up: 0.0 to 1.0, by
    /// default 0.0. They are served first. [`set_load`](SimStream::set_load) changes it later.
    pub fn with_load(mut self, share: f64) -> Self {
        self.load = share;
        self
    }

    /// Sets what places the records; by default their partition keys. With [`Distribution::Auto`] keys
    /// are ignored and may be missing, and each record goes to a shard that is drawn.
    /// [`set_distribution`](SimStream::set_distribution) changes it later.
    pub fn with_distribution(mut self, distribution: Distribution) -> Self {
        self.description = self.description.with_distribution(distribution);
        self
    }

    /// Sets the stream's capacity mode, by default [`StreamMode::OnDemand`]. A provisioned stream places
    /// records by their partition keys, even if its distribution was set otherwise.
    pub fn with_mode(mut self, mode: StreamMode) -> Self {
        self.description = self.description.with_mode(mode);
        self
    }

    /// Sets the most bytes of one record, data and partition key together: 1 B to 10 MiB, by default 1 MiB.
    /// DescribeStreamSummary counts in KiB and rounds down.
    pub fn with_max_record_bytes(mut self, bytes: usize) -> Self {
        self.description = self.description.with_max_record_bytes(bytes);
        self
    }

    /// Sets how many bytes are kept of the beginning of each payload; by default all. A whole payload
    /// is shared with the producer, the beginning of one is copied. For long runs.
    pub fn with_kept_bytes(mut self, bytes: usize) -> Self {
        self.kept_bytes = bytes;
        self
    }

    /// Keeps nothing of what was accepted: [`written`](SimStream::written) stays empty and readers find
    /// nothing, while [`stats`](SimStream::stats) goes on to count. For benchmarks.
    pub fn without_written(mut self) -> Self {
        self.keeps_written = false;
        self
    }

    /// Makes the stream, with all its quota unused.
    ///
    /// # Errors
    ///
    /// A setting is outside its range, or name and account are not those of a stream.
    pub fn build(self) -> Result<SimStream, BuildError> {
        BuildError::check_range("shards", self.shards, 1..=MAX_SHARDS)?;
        BuildError::check_range("bandwidth", self.bandwidth.unwrap_or(1), 1..=u32::MAX)?;
        BuildError::check_range("records_per_s", self.quota.records_per_s, 1..=u32::MAX)?;
        let bytes = Bytes(self.quota.bytes_per_s.into());
        BuildError::check_range("bytes_per_s", bytes, Bytes(1)..=Bytes(u32::MAX.into()))?;
        BuildError::check_range("burst", self.quota.burst, Duration::ZERO..=LONGEST)?;
        let bytes = Bytes::from(self.quota.byte_burst.unwrap_or(0));
        BuildError::check_range("byte_burst", bytes, Bytes(0)..=Bytes(1 << 30))?;
        BuildError::check_range("front_ends", self.quota.limiter.front_ends, 1..=MAX_FRONT_ENDS)?;
        BuildError::check_range("lag", self.quota.limiter.lag, Duration::ZERO..=LONGEST)?;
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
