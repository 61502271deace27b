//! Settings of a sink.

#[cfg(feature = "serde")]
pub(crate) mod read;

use std::time::Duration;

use crate::build_error::{BuildError, Bytes, Shown};
use crate::limits::{Limits, MAX_RECORD_BYTES, PAYLOAD_UNIT_BYTES};
#[cfg(feature = "metrics")]
use crate::metrics::MetricsGranularity;
use crate::pipeline::Size;
pub use crate::pipeline::{AggregateKey, Aggregation, Linger, RecordOrdering};
pub use crate::sink::FatalPolicy;
#[cfg(feature = "spool")]
use crate::spool::Spool;
use crate::timeout::TimeoutLayer;

const MILLISECOND: Duration = Duration::from_millis(1);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Maximum of `buffer_bytes`: 1 TiB, or 2 GiB on 32-bit targets.
pub(crate) const MAX_BUFFER_BYTES: usize =
    if usize::BITS > 32 { (1 << 20) * (1 << 20) } else { 1 << 31 };

/// Maximum of `buffer_records`.
pub(crate) const MAX_BUFFER_RECORDS: usize = 100_000_000;

/// Maximum of `aggregate_records`, the same as in the KPL. Aggregates stay far below it because of their size limit.
const MAX_AGGREGATE_RECORDS: usize = u32::MAX as usize;

/// Settings of a [`KinesisSink`](crate::KinesisSink) that can be represented as plain data.
///
/// Use [`SinkBuilder::configure`](crate::SinkBuilder::configure) to change individual settings, or
/// [`SinkBuilder::with_settings`](crate::SinkBuilder::with_settings) to replace all settings:
///
/// ```
/// use kinesis_sink::KinesisSink;
///
/// # fn run(client: aws_sdk_kinesis::Client) -> Result<(), kinesis_sink::BuildError> {
/// let sink = KinesisSink::builder("clicks")
///     .configure(|settings| {
///         settings.buffer_bytes = 128 * 1024 * 1024;
///         settings.max_attempts = Some(100);
///     })
///     .build(&client)?;
/// # Ok(())
/// # }
/// ```
///
/// The [`SinkBuilder`](crate::SinkBuilder) has separate methods to set the stream, the classifier, the dead-letter
/// handler and the [`StreamInfo`](crate::stream::StreamInfo).
///
/// # Configuration files
///
/// With the feature `serde`, settings can be deserialized from a configuration file. The keys are the field names. If a
/// key is missing, the default applies. An unknown key is an error.
///
/// - Durations are strings such as `"100ms"` or `"1h 30m"`.
/// - Sizes are either numbers of bytes or strings such as `"32MiB"` (1 MiB is 1,024² bytes) or `"5MB"` (1 MB is 1,000²
///   bytes).
/// - Numbers and booleans can also be strings, such as `"8"` and `"true"`. All settings can therefore be set with
///   environment variables. The crate that reads the environment determines the variable names of nested settings such
///   as `limits.record_bytes`.
/// - `"none"` unsets an optional setting such as `deadline`.
///
/// Error messages name a setting by its path in the file, such as `limits.record_bytes`. Sizes are serialized as
/// numbers of bytes, and optional settings that are not set as `"none"`.
///
/// To use other defaults, add serde's `default = "function"` to the field that contains the settings. Alternatively,
/// serialize settings with the desired defaults and merge the file into them, as the crates `config` and `figment` do.
///
/// The following example contains all keys except `seed`, `metrics` and `spool` (feature `spool`). The key `metrics` is `"shard"` (default),
/// `"stream"` or `"off"`, and requires the feature `metrics`. All values in the example are the defaults, except for
/// `record_bytes`, `max_attempts` and `deadline`, which are unset by default:
///
/// ```
/// use kinesis_sink::{KinesisSink, Settings, StreamId};
///
/// #[derive(serde::Deserialize)]
/// struct Config {
///     stream: StreamId,
///     #[serde(default)]
///     sink: Settings,
/// }
///
/// let config: Config = toml::from_str(r#"
///     stream = "clicks"                   # or its ARN
///
///     [sink]
///     max_in_flight = 4                   # requests
///     linger = "100ms"                    # or { adaptive = "100ms" }, { fixed = "100ms" }
///     aggregation = "off"                 # or "per_key", "per_shard"
///     aggregate_bytes = "50KiB"           # or 51_200
///     aggregate_records = 4_294_967_295
///     aggregate_key = "first_member"      # or "kpl"
///     ordering = "unordered"              # or "per_key"
///     describe_stream = true              # with aggregation or ordering; false: never
///     buffer_records = 10_000
///     buffer_bytes = "32MiB"
///     backoff = { base = "100ms", ceiling = "3s" }
///     max_attempts = 100                  # default: no limit
///     deadline = "1h"                     # default: no deadline
///     credentials_timeout = "5m"
///     request_timeout = "10s"
///     max_request_timeout = "30s"
///     fatal_policy = "stop"               # or "retry"
///
///     [sink.limits]
///     request_entries = 500
///     request_bytes = "5MiB"
///     record_bytes = "1MiB"               # default: the limit of the stream, if it is described
///     shard_records = 1_000               # per second
///     shard_bytes = "1MiB"                # per second
/// "#)?;
///
/// # async fn run(client: aws_sdk_kinesis::Client, config: Config) -> Result<(), kinesis_sink::BuildError> {
/// let sink = KinesisSink::builder(config.stream).with_settings(config.sink).build(&client)?;
/// # Ok(())
/// # }
/// # Ok::<_, toml::de::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct Settings {
    /// Limits for requests, records and shards. [`Limits`] documents the defaults and ranges.
    pub limits: Limits,
    /// Maximum number of requests in flight: 1 to 1,000. Default: 4.
    ///
    /// See [`SinkBuilder::with_max_in_flight`](crate::SinkBuilder::with_max_in_flight).
    #[cfg_attr(feature = "serde", serde(deserialize_with = "read::max_in_flight"))]
    pub max_in_flight: usize,
    /// Maximum time that a partial request waits for more records: 0 s to 60 s. Default: [`Linger::Auto`] with 100 ms.
    pub linger: Linger,
    /// Aggregation mode: whether and how several records are packed into one Kinesis record. Default:
    /// [`Aggregation::Off`].
    ///
    /// See [`SinkBuilder::with_aggregation`](crate::SinkBuilder::with_aggregation).
    pub aggregation: Aggregation,
    /// Maximum size of an aggregate in bytes, including its partition key: 1 B to 10 MiB. Default: 51,200 B, which is
    /// two [PUT payload units](crate::limits::PAYLOAD_UNIT_BYTES) of 25 KiB.
    ///
    /// The [record size limit](Limits::with_record_bytes) also applies to aggregates. A record that does not fit into
    /// an aggregate is sent without aggregation.
    ///
    /// # Choosing a size
    ///
    /// On provisioned streams, each Kinesis record is billed as a whole number of units, so use a multiple of 25 KiB:
    /// an aggregate that is slightly larger than one unit is billed as two.
    ///
    /// Records are not split, so the last part of each aggregate is usually unused. Two units waste a smaller share
    /// than one unit. With records of 1 KiB, 24 records fit into one unit and 49 into two units, so 96 % and 98 % of
    /// the billed bytes are data. With records of 9 KiB, 2 records fit into one unit and 5 into two units, so the
    /// shares are 72 % and 90 %. For small records, more than two units have little additional benefit, but more bytes
    /// must be sent again when an aggregate is throttled.
    ///
    /// On-demand streams round the billed size up to a multiple of 1 KiB, which adds at most 2 % to an aggregate of the
    /// default size. The default of the KPL (`AggregationMaxSize`) is also two units.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "read::aggregate_bytes"))]
    pub aggregate_bytes: usize,
    /// Maximum number of records in an aggregate: 1 to 4,294,967,295. Default: 4,294,967,295, as in the KPL. The
    /// default is so large that only [`aggregate_bytes`](Self::aggregate_bytes) limits an aggregate.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "read::aggregate_records"))]
    pub aggregate_records: usize,
    /// Partition key of aggregates. Default: [`AggregateKey::FirstMember`].
    pub aggregate_key: AggregateKey,
    /// Ordering of records that have the same partition key. Default: [`RecordOrdering::Unordered`].
    pub ordering: RecordOrdering,
    /// Set to `true` to describe the stream if aggregation or ordering
    /// [requires it](crate::SinkBuilder::with_stream_info). Default: `true`.
    ///
    /// Set this to `false` if the role does not have the permission `kinesis:DescribeStreamSummary`. A sink with
    /// aggregation or ordering then cannot detect that a stream distributes its records itself. It also sends to such a
    /// stream, although the stream does not keep records with the same partition key in order. If a [shard
    /// list](crate::SinkBuilder::with_stream_info) is available, the sink detects aggregates that were written to the
    /// wrong shard and sends their records again without aggregation.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "read::describe_stream"))]
    pub describe_stream: bool,
    /// Maximum number of records in the buffer: 1 to 100,000,000. Default: `None`, which means 10,000 without and
    /// 100,000 with aggregation.
    ///
    /// The number includes records in flight and failed records that have not been taken. While the buffer is full, the
    /// sink applies backpressure to the source. A producer divides the buffer [between the
    /// shards](crate::Producer#backpressure), so that one shard cannot fill it.
    /// [`effective_buffer_records`](Self::effective_buffer_records) returns the value that is in effect.
    ///
    /// Each buffered record uses about 160 bytes of memory in addition to its payload. With aggregation, it uses 200 to
    /// 600 bytes; the maximum is reached if two or three records per partition key are buffered. These values were
    /// measured on a 64-bit target. [`buffer_bytes`](Self::buffer_bytes) limits the memory for payloads.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "read::buffer_records", serialize_with = "read::number_or_none")
    )]
    pub buffer_records: Option<usize>,
    /// Maximum size of the buffered records in bytes, including their partition keys: 1 B to 1 TiB (2 GiB on 32-bit
    /// targets). Default: 32 MiB.
    ///
    /// As with [`buffer_records`](Self::buffer_records), this includes records in flight and failed records. A sink
    /// accepts a record while the buffer is smaller than the maximum, so the last accepted record can exceed it.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "read::buffer_bytes"))]
    pub buffer_bytes: usize,
    /// Backoff after failures. Default: 100 ms to 3 s.
    pub backoff: BackoffSettings,
    /// Maximum number of attempts to deliver a record: 1 or more. Default: `None`, which means no limit.
    ///
    /// A record fails if it has not been delivered after this number of attempts.
    /// [`Undelivered::attempts`](crate::Undelivered::attempts) documents which requests count as attempts.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "read::max_attempts", serialize_with = "read::number_or_none")
    )]
    pub max_attempts: Option<u32>,
    /// Time within which an accepted record must be delivered: 1 ms to 7 days. Default: `None`, which means no
    /// deadline.
    ///
    /// See [`SinkBuilder::with_deadline`](crate::SinkBuilder::with_deadline).
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "read::deadline", serialize_with = "read::time_or_none")
    )]
    pub deadline: Option<Duration>,
    /// Time for which the sink retries requests while credentials cannot be loaded or are rejected: 0 s to 7 days.
    /// Default: 5 minutes.
    ///
    /// Credential errors are errors of the class
    /// [`ErrorClass::Credentials`](crate::service::ErrorClass::Credentials). Requests and stream lookups that fail with
    /// such an error are retried until this timeout has elapsed. The error is then reported like a fatal error, with
    /// [`ErrorKind::Refused`](crate::ErrorKind::Refused), and the records stay in the sink.
    ///
    /// The timeout starts with the first credential error. It is reset by any response that shows that the credentials
    /// were accepted: a delivery, a throttled entry, or a record that is rejected as invalid. The time between two
    /// consecutive failures is counted as at most one minute, so that a process that was suspended for a long time does
    /// not exceed the timeout with its next failed request.
    ///
    /// The timeout also applies to HTTP 4xx responses without an error code
    /// ([`ErrorClass::Blocked`](crate::service::ErrorClass::Blocked)), for as long as no request succeeds. A single
    /// failing record does not count if the stream has accepted other records.
    ///
    /// The default is longer than typical outages of STS, of the instance metadata service or of a credentials agent,
    /// and longer than the SDK needs for all attempts of a credentials refresh. It is short enough to report a deleted
    /// or revoked role within minutes. Use a shorter timeout for short-lived jobs. With 0 s, the first credential error
    /// is reported immediately.
    #[cfg_attr(
        feature = "serde",
        serde(
            deserialize_with = "read::credentials_timeout",
            serialize_with = "humantime_serde::serialize"
        )
    )]
    pub credentials_timeout: Duration,
    /// Timeout of a request: 1 ms to 10 minutes. Default: 10 s.
    ///
    /// Only the default service stack, which [`SinkBuilder::build`](crate::SinkBuilder::build) creates, uses this
    /// setting. See [`timeout`](crate::timeout).
    #[cfg_attr(
        feature = "serde",
        serde(
            deserialize_with = "read::request_timeout",
            serialize_with = "humantime_serde::serialize"
        )
    )]
    pub request_timeout: Duration,
    /// Maximum timeout of a request whose records have timed out repeatedly: 1 ms to 10 minutes. Default: 30 s.
    ///
    /// Only the default service stack, which [`SinkBuilder::build`](crate::SinkBuilder::build) creates, uses this
    /// setting. It has no effect if the [request timeout](Self::request_timeout) is longer.
    ///
    /// When the same records time out repeatedly, the timeout of the next request is doubled, up to this maximum, and
    /// requests become smaller. The sink thus makes progress with few duplicates even if the stream responds late or
    /// the link is slow. When responses are fast again, the timeout returns to the request timeout.
    ///
    /// If the network silently drops a response, the request waits until it times out. This maximum therefore also
    /// limits how long the sink needs to detect that the stream can be reached again.
    #[cfg_attr(
        feature = "serde",
        serde(
            deserialize_with = "read::max_request_timeout",
            serialize_with = "humantime_serde::serialize"
        )
    )]
    pub max_request_timeout: Duration,
    /// Behavior of a [`Producer`](crate::Producer) when the service refuses every request. Default:
    /// [`FatalPolicy::Stop`].
    ///
    /// The policy does not apply to a [`KinesisSink`](crate::KinesisSink) without a producer, which returns the error
    /// to its caller.
    pub fatal_policy: FatalPolicy,
    /// Granularity of the sink's [metrics](crate::metrics). Default: [`MetricsGranularity::Shard`].
    ///
    /// The sink registers its metrics with the recorder that is installed when the sink is built.
    #[cfg(feature = "metrics")]
    pub metrics: MetricsGranularity,
    /// Seed for random partition keys and backoff jitter, for reproducible tests. Default: `None`, which means a random
    /// seed.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "read::seed", serialize_with = "read::number_or_none")
    )]
    pub seed: Option<u64>,
    /// Durable [spool](crate::spool) of a producer. Default: none.
    ///
    /// See [`SinkBuilder::with_spool`](crate::SinkBuilder::with_spool). In a configuration file, the spool is a table, see
    /// [`Spool`](crate::spool::Spool#configuration-files). Requires the feature `spool`.
    #[cfg(feature = "spool")]
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub spool: Option<Spool>,
}

/// Backoff settings, a part of [`Settings`].
///
/// The wait after a failure is random and uniformly distributed between 0 and a maximum. The maximum is `base` after
/// the first failure and doubles with each consecutive failure, up to `ceiling`. Both values range from 1 ms to 60 s,
/// and `base` must not exceed `ceiling`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct BackoffSettings {
    /// Maximum wait after the first failure. Default: 100 ms.
    #[cfg_attr(
        feature = "serde",
        serde(
            deserialize_with = "read::backoff_base",
            serialize_with = "humantime_serde::serialize"
        )
    )]
    pub base: Duration,
    /// Maximum wait after any number of failures. Default: 3 s.
    #[cfg_attr(
        feature = "serde",
        serde(
            deserialize_with = "read::backoff_ceiling",
            serialize_with = "humantime_serde::serialize"
        )
    )]
    pub ceiling: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            max_in_flight: 4,
            linger: Linger::default(),
            aggregation: Aggregation::default(),
            aggregate_bytes: 2 * PAYLOAD_UNIT_BYTES,
            aggregate_records: MAX_AGGREGATE_RECORDS,
            aggregate_key: AggregateKey::default(),
            ordering: RecordOrdering::default(),
            describe_stream: true,
            buffer_records: None,
            buffer_bytes: 32 * 1024 * 1024,
            backoff: BackoffSettings::default(),
            max_attempts: None,
            deadline: None,
            credentials_timeout: 5 * MINUTE,
            request_timeout: TimeoutLayer::DEFAULT,
            max_request_timeout: TimeoutLayer::DEFAULT_MAX,
            fatal_policy: FatalPolicy::default(),
            #[cfg(feature = "metrics")]
            metrics: MetricsGranularity::Shard,
            seed: None,
            #[cfg(feature = "spool")]
            spool: None,
        }
    }
}

impl Default for BackoffSettings {
    fn default() -> Self {
        Self { base: Duration::from_millis(100), ceiling: Duration::from_secs(3) }
    }
}

impl BackoffSettings {
    fn validate(&self) -> Result<(), BuildError> {
        let Self { base, ceiling } = *self;
        let defaults = Self::default();
        BuildError::check_range("backoff.base", base, MILLISECOND..=MINUTE)?;
        BuildError::check_range("backoff.ceiling", ceiling, MILLISECOND..=MINUTE)?;
        BuildError::check_order(
            ("backoff.base", base, defaults.base),
            ("backoff.ceiling", ceiling, defaults.ceiling),
        )
    }
}

impl Settings {
    /// Returns the linger mode that is in effect: [`Linger::Auto`] is replaced with the mode that it selects for the
    /// [aggregation](Self::aggregation).
    #[must_use]
    pub fn effective_linger(&self) -> Linger {
        self.linger.resolve(self.aggregation)
    }

    /// Returns the [maximum number of buffered records](Self::buffer_records) that is in effect: the value that was
    /// set, or the default, which depends on the [aggregation](Self::aggregation).
    #[must_use]
    pub fn effective_buffer_records(&self) -> usize {
        match (self.buffer_records, self.is_aggregating()) {
            (Some(records), _) => records,
            (None, false) => 10_000,
            // A full request of aggregates contains about 50,000 records of 100 bytes.
            (None, true) => 100_000,
        }
    }

    /// Checks that each setting is within its range, and that the settings do not contradict each other.
    ///
    /// [`SinkBuilder::build`](crate::SinkBuilder::build) and its variants call this method.
    ///
    /// # Errors
    ///
    /// Returns [`BuildError::OutOfRange`] or [`BuildError::Conflict`] for the first invalid setting.
    pub fn validate(&self) -> Result<(), BuildError> {
        let check = BuildError::check_range::<usize>;
        let check_bytes = BuildError::check_range::<Bytes>;
        let check_time = BuildError::check_range::<Duration>;
        self.limits.validate()?;
        let aggregate_bytes = Bytes(1)..=MAX_RECORD_BYTES.into();
        check_bytes("aggregate_bytes", self.aggregate_bytes.into(), aggregate_bytes)?;
        check("aggregate_records", self.aggregate_records, 1..=MAX_AGGREGATE_RECORDS)?;
        check("max_in_flight", self.max_in_flight, 1..=1_000)?;
        check_time("linger", self.effective_linger().ceiling(), Duration::ZERO..=MINUTE)?;
        check("buffer_records", self.effective_buffer_records(), 1..=MAX_BUFFER_RECORDS)?;
        let buffer_bytes = Bytes(1)..=MAX_BUFFER_BYTES.into();
        check_bytes("buffer_bytes", self.buffer_bytes.into(), buffer_bytes)?;
        self.backoff.validate()?;
        #[cfg(feature = "spool")]
        if let Some(spool) = &self.spool {
            spool.validate().map_err(|error| error.in_table("spool"))?;
        }
        if let Some(attempts) = self.max_attempts {
            BuildError::check_range("max_attempts", attempts, 1..=u32::MAX)?;
        }
        if let Some(deadline) = self.deadline {
            check_time("deadline", deadline, MILLISECOND..=7 * DAY)?;
        }
        check_time("credentials_timeout", self.credentials_timeout, Duration::ZERO..=7 * DAY)?;
        let request = MILLISECOND..=10 * MINUTE;
        check_time("request_timeout", self.request_timeout, request.clone())?;
        check_time("max_request_timeout", self.max_request_timeout, request)
    }

    /// Returns a warning that includes the fix if the buffer is too small for full requests.
    pub(crate) fn partial_requests(&self) -> Option<String> {
        let warning = |buffer, capacity: &dyn Shown, limit, full: &dyn Shown| {
            let (capacity, full) = (capacity.shown(), full.shown());
            format!(
                "{buffer} is {capacity}, less than {limit} ({full}): raise {buffer} or lower {limit}"
            )
        };
        let mut warnings = Vec::new();
        let buffer_bytes = Bytes::from(self.buffer_bytes);
        let request_bytes = Bytes::from(self.limits.request_bytes());
        if buffer_bytes < request_bytes {
            let limit = "limits.request_bytes";
            warnings.push(warning("buffer_bytes", &buffer_bytes, limit, &request_bytes));
        }
        let buffer_records = self.effective_buffer_records();
        let request_entries = self.limits.request_entries();
        // With aggregation, the number of records per entry varies, so the required number cannot be computed.
        if !self.is_aggregating() && buffer_records < request_entries {
            let limit = "limits.request_entries";
            warnings.push(warning("buffer_records", &buffer_records, limit, &request_entries));
        }
        (!warnings.is_empty()).then(|| warnings.join("; "))
    }

    /// Returns `true` if a buffer that already contains records of the size `buffered` accepts another record.
    pub(crate) fn has_capacity(&self, buffered: Size) -> bool {
        buffered.records < self.effective_buffer_records() && buffered.bytes < self.buffer_bytes
    }

    pub(crate) fn is_aggregating(&self) -> bool {
        self.aggregation != Aggregation::Off
    }

    /// Returns `true` if aggregation or ordering is enabled. Both work only if partition keys determine the shard.
    pub(crate) fn relies_on_keys(&self) -> bool {
        self.is_aggregating() || self.ordering == RecordOrdering::PerKey
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_depend_on_aggregation() {
        let mut settings = Settings::default();
        let ms = Duration::from_millis(100);
        assert_eq!(settings.effective_linger(), Linger::Adaptive(ms));
        assert_eq!(settings.effective_buffer_records(), 10_000);
        settings.aggregation = Aggregation::PerKey;
        assert_eq!(settings.effective_linger(), Linger::Fixed(ms));
        assert_eq!(settings.effective_buffer_records(), 100_000);
    }

    #[test]
    fn set_values_override_aggregation_defaults() {
        let settings = Settings {
            aggregation: Aggregation::PerShard,
            linger: Linger::Adaptive(Duration::ZERO),
            buffer_records: Some(5),
            ..Settings::default()
        };
        assert_eq!(settings.effective_linger(), Linger::Adaptive(Duration::ZERO));
        assert_eq!(settings.effective_buffer_records(), 5);
    }

    #[test]
    fn default_settings_are_in_range() {
        assert_eq!(Settings::default().validate(), Ok(()));
    }

    #[test]
    fn conflict_error_names_changed_setting() {
        let message = |base, ceiling| {
            let backoff = BackoffSettings { base, ceiling };
            Settings { backoff, ..Settings::default() }.validate().unwrap_err().to_string()
        };
        let BackoffSettings { base, ceiling } = BackoffSettings::default();
        assert_eq!(
            message(MINUTE, ceiling),
            "backoff.base is 1m, more than backoff.ceiling (3s): raise backoff.ceiling or lower backoff.base"
        );
        assert_eq!(
            message(base, MILLISECOND),
            "backoff.ceiling is 1ms, less than backoff.base (100ms): raise backoff.ceiling or lower backoff.base"
        );
    }

    #[test]
    fn small_buffer_warns_of_partial_requests() {
        let mut settings = Settings::default();
        assert_eq!(settings.partial_requests(), None);
        settings.buffer_bytes = 1 << 20;
        assert_eq!(
            settings.partial_requests().unwrap(),
            "buffer_bytes is 1MiB, less than limits.request_bytes (5MiB): \
             raise buffer_bytes or lower limits.request_bytes"
        );
        settings.buffer_bytes = settings.limits.request_bytes();
        settings.buffer_records = Some(499);
        assert_eq!(
            settings.partial_requests().unwrap(),
            "buffer_records is 499, less than limits.request_entries (500): \
             raise buffer_records or lower limits.request_entries"
        );
        settings.aggregation = Aggregation::PerKey;
        assert_eq!(settings.partial_requests(), None);
    }
}
