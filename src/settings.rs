//! Settings of a sink, as plain data.

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
use crate::timeout::TimeoutLayer;

const MILLISECOND: Duration = Duration::from_millis(1);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// 1 TiB, or what the target can address.
const MAX_BUFFER_BYTES: usize = if usize::BITS > 32 { (1 << 20) * (1 << 20) } else { 1 << 31 };

/// No aggregate reaches this limit, which is the KPL's.
const MAX_AGGREGATE_RECORDS: usize = u32::MAX as usize;

/// Settings of a [`KinesisSink`](crate::KinesisSink), as plain data.
///
/// Pass them to [`SinkBuilder::with_settings`](crate::SinkBuilder::with_settings), or change single ones with
/// [`SinkBuilder::configure`](crate::SinkBuilder::configure):
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
/// The stream, the classifier, the dead-letter handler and the [`StreamInfo`](crate::stream::StreamInfo) are not data,
/// so only [`SinkBuilder`](crate::SinkBuilder) has them.
///
/// # Configuration files
///
/// With the feature `serde` the settings can be read from a configuration file. The keys are the names of the
/// fields. A missing key means the default, an unknown key is an error.
///
/// - Durations are strings such as `"100ms"` or `"1h 30m"`.
/// - Sizes are strings such as `"32MiB"` (1,024² bytes each) or `"5MB"` (1,000²), or numbers of bytes.
/// - Numbers and booleans may be strings, such as `"8"` and `"true"`, so that all settings can be environment
///   variables. Of a nested setting such as `limits.record_bytes` the crate that reads the environment defines the
///   variable's name.
///
/// Errors name the setting by its path in the file, such as `limits.record_bytes`. Settings are written as numbers of
/// bytes and as durations.
///
/// For other defaults than the crate's, use serde's `default = "function"` at the field that holds the
/// settings, or merge the file into the serialized settings before reading it, as the crates `config` and
/// `figment` do.
///
/// The example has all keys except `metrics = "shard"` (or `"stream"`, `"off"`), which requires the feature `metrics`.
/// Values are the defaults, except for `record_bytes`, `max_attempts` and `deadline`, which have none:
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
///     max_attempts = 100                  # by default there is no limit
///     deadline = "1h"                     # by default there is none
///     credentials_timeout = "5m"
///     request_timeout = "10s"
///     max_request_timeout = "30s"
///     fatal_policy = "stop"               # or "retry"
///
///     [sink.limits]
///     request_entries = 500
///     request_bytes = "5MiB"
///     record_bytes = "1MiB"               # by default the limit of the stream, if it is described
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
    /// Limits of a request, of a record and of the rate per shard. [`Limits`] has the defaults and ranges.
    pub limits: Limits,
    /// The maximum number of requests in flight: 1 to 1,000. Default: 4.
    ///
    /// See [`SinkBuilder::with_max_in_flight`](crate::SinkBuilder::with_max_in_flight).
    #[cfg_attr(feature = "serde", serde(deserialize_with = "read::max_in_flight"))]
    pub max_in_flight: usize,
    /// When a request that is not full may be sent: 0 s to 60 s. Default: [`Linger::Auto`] with 100 ms.
    pub linger: Linger,
    /// Whether several records are packed into one Kinesis record. Default: [`Aggregation::Off`].
    ///
    /// See [`SinkBuilder::with_aggregation`](crate::SinkBuilder::with_aggregation).
    pub aggregation: Aggregation,
    /// The maximum size of an aggregate in bytes, partition key included: 1 B to 10 MiB. Default: 51,200, which is two
    /// [PUT payload units](crate::limits::PAYLOAD_UNIT_BYTES) of 25 KiB. An aggregate is also no larger than a record
    /// [may be](Limits::with_record_bytes). A record that is larger than an aggregate is sent without aggregation.
    ///
    /// Provisioned streams bill each Kinesis record in whole units, so a maximum just over one unit would cost
    /// two. A record is never split to fill an aggregate: on average half a record's size stays free at
    /// its end. Of 1 KiB records 24 fit into one unit and 49 into two, so that 96 and 98 % of the billed bytes
    /// are data; of 9 KiB records 2 and 5 (72 and 90 %). More than two units gain little for small records,
    /// and more bytes are sent again after a throttle. On-demand streams round up to 1 KiB,
    /// 2 % of the default at most. Two units are also the KPL's default (`AggregationMaxSize`).
    #[cfg_attr(feature = "serde", serde(deserialize_with = "read::aggregate_bytes"))]
    pub aggregate_bytes: usize,
    /// The maximum number of records in an aggregate: 1 to 4,294,967,295, which is the default, as in the
    /// KPL, and in effect no limit.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "read::aggregate_records"))]
    pub aggregate_records: usize,
    /// The partition key of aggregates, see [`AggregateKey`]. Default: that of the first member.
    pub aggregate_key: AggregateKey,
    /// Whether the records of a partition key are kept in order. Default: [`RecordOrdering::Unordered`].
    pub ordering: RecordOrdering,
    /// Whether the stream is described if aggregation or ordering
    /// [needs it](crate::SinkBuilder::with_stream_info). Default: `true`.
    ///
    /// Set it to `false` for a role without the permission `kinesis:DescribeStreamSummary`. A sink that aggregates or
    /// keeps an order then also sends to a stream that distributes its records itself. There it keeps no order, and
    /// with a [list of shards](crate::SinkBuilder::with_stream_info) it sends the records of misplaced aggregates again
    /// without aggregation.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "read::describe_stream"))]
    pub describe_stream: bool,
    /// The maximum number of records in the buffer: 1 to 100,000,000. Default: `None`, which means 10,000, or 100,000
    /// with aggregation.
    ///
    /// Records in flight count, and so do failed records until they are taken. While the buffer is full, the source
    /// waits. [`buffer_records()`](Self::buffer_records()) returns the value in effect.
    ///
    /// In addition to its payload, which [`buffer_bytes`](Self::buffer_bytes) bounds, a record uses
    /// some 160 bytes of memory, with aggregation 200 to 600, the most if two or three records of each
    /// key are buffered (measured on a 64-bit target).
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "read::buffer_records", skip_serializing_if = "Option::is_none")
    )]
    pub buffer_records: Option<usize>,
    /// The maximum size of the buffer in bytes, data and partition keys together: 1 B to 1 TiB (2 GiB on 32-bit
    /// targets). Default: 32 MiB.
    ///
    /// The same records count as for [`buffer_records`](Self::buffer_records). The record that exceeds the bound is
    /// still accepted.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "read::buffer_bytes"))]
    pub buffer_bytes: usize,
    /// The backoff after failures. Default: from 100 ms up to 3 s.
    pub backoff: BackoffSettings,
    /// The number of attempts after which a record fails: 1 or more. Default: `None`, no limit.
    ///
    /// [`Undelivered::attempts`](crate::Undelivered::attempts) says what counts as an attempt.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "read::max_attempts", skip_serializing_if = "Option::is_none")
    )]
    pub max_attempts: Option<u32>,
    /// The time from acceptance after which a buffered record fails: 1 ms to 7 days. Default: `None`, no deadline.
    ///
    /// See [`SinkBuilder::with_deadline`](crate::SinkBuilder::with_deadline).
    #[cfg_attr(
        feature = "serde",
        serde(
            deserialize_with = "read::deadline",
            serialize_with = "humantime_serde::serialize",
            skip_serializing_if = "Option::is_none"
        )
    )]
    pub deadline: Option<Duration>,
    /// The time for which requests are retried while credentials cannot be loaded or are refused: 0 s to 7 days.
    /// Default: 5 minutes.
    ///
    /// Lookups of the stream are retried as well. Such errors are
    /// [`ErrorClass::Credentials`](crate::service::ErrorClass::Credentials). Afterwards the error is
    /// [reported](crate::ErrorKind::Refused) like a fatal one; the records stay in the sink.
    ///
    /// The time starts with the first such failure and ends with an answer that shows that the credentials
    /// were accepted: a delivery, a throttle, a record refused as invalid. The time between two failures
    /// counts for a minute at most, so that a process that was suspended does not fail at its first
    /// request.
    ///
    /// The timeout applies as well to answers with HTTP 4xx and no error code
    /// ([`ErrorClass::Blocked`](crate::service::ErrorClass::Blocked)), counted while no request succeeds. A record
    /// that fails alone on a stream that has taken others does not count.
    ///
    /// The default is longer than the usual outage of STS, of the instance metadata service or of a
    /// credentials agent, and longer than a refresh of the SDK with all its attempts. It is short enough
    /// that a deleted or revoked role is reported within minutes. Set less for short-lived jobs; with
    /// 0 s the first failure is reported.
    #[cfg_attr(
        feature = "serde",
        serde(
            deserialize_with = "read::credentials_timeout",
            serialize_with = "humantime_serde::serialize"
        )
    )]
    pub credentials_timeout: Duration,
    /// The timeout of a request in the default stack: 1 ms to 10 minutes. Default: 10 s.
    ///
    /// [`SinkBuilder::build`](crate::SinkBuilder::build) builds the default stack. See [`timeout`](crate::timeout).
    #[cfg_attr(
        feature = "serde",
        serde(
            deserialize_with = "read::request_timeout",
            serialize_with = "humantime_serde::serialize"
        )
    )]
    pub request_timeout: Duration,
    /// The longest timeout of a request in the default stack, for requests that time out repeatedly: 1 ms to 10
    /// minutes. Default: 30 s.
    ///
    /// It has no effect if the [request timeout](Self::request_timeout) is longer.
    ///
    /// When the same records time out repeatedly, the timeout of the next request doubles up to this maximum,
    /// and requests get smaller. So a stream that responds late, or over a slow link, makes progress and gets
    /// few duplicates. Fast responses restore the timeout. The maximum also bounds how long a request waits for
    /// a response that the network has silently dropped, and so how late the sink notices that the stream can be
    /// reached again.
    #[cfg_attr(
        feature = "serde",
        serde(
            deserialize_with = "read::max_request_timeout",
            serialize_with = "humantime_serde::serialize"
        )
    )]
    pub max_request_timeout: Duration,
    /// What a [`Producer`](crate::Producer) does when the service refuses every request. Default:
    /// [`FatalPolicy::Stop`].
    ///
    /// It has no effect on a [`KinesisSink`](crate::KinesisSink), which returns the error to its owner.
    pub fatal_policy: FatalPolicy,
    /// Which metrics the sink records, see [`metrics`](crate::metrics). Default:
    /// [`Shard`](MetricsGranularity::Shard). The metrics are registered with the
    /// recorder that is installed when the sink is built.
    #[cfg(feature = "metrics")]
    pub metrics: MetricsGranularity,
    /// The seed of random partition keys and of jitter, for repeatable tests. Default: `None`, a random seed.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "read::seed", skip_serializing_if = "Option::is_none")
    )]
    pub seed: Option<u64>,
}

/// Range of the backoff after failures, in [`Settings`].
///
/// The wait is drawn evenly from 0 to `base`, which doubles with each consecutive failure up to `ceiling`. Both are
/// 1 ms to 60 s, `base` at most `ceiling`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct BackoffSettings {
    /// The longest wait after the first failure. Default: 100 ms.
    #[cfg_attr(
        feature = "serde",
        serde(
            deserialize_with = "read::backoff_base",
            serialize_with = "humantime_serde::serialize"
        )
    )]
    pub base: Duration,
    /// The longest wait after any failure. Default: 3 s.
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
            // The arithmetic is at the field.
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
    /// Returns the linger in effect, with [`Auto`](Linger::Auto) resolved for the aggregation.
    #[must_use]
    pub fn linger(&self) -> Linger {
        self.linger.resolve(self.aggregation)
    }

    /// Returns the bound on buffered records in effect: the one that is set, or the default for the
    /// aggregation.
    #[must_use]
    pub fn buffer_records(&self) -> usize {
        match (self.buffer_records, self.is_aggregating()) {
            (Some(records), _) => records,
            (None, false) => 10_000,
            // A full request of aggregates holds some 50,000 records of 100 bytes.
            (None, true) => 100_000,
        }
    }

    /// Checks that each setting is in its range, and that settings do not contradict each other.
    ///
    /// [`SinkBuilder::build`](crate::SinkBuilder::build) and its variants call it.
    ///
    /// # Errors
    ///
    /// Returns [`BuildError::OutOfRange`] or [`BuildError::Conflict`] for the first setting that is wrong.
    pub fn validate(&self) -> Result<(), BuildError> {
        let check = BuildError::check_range::<usize>;
        let check_bytes = BuildError::check_range::<Bytes>;
        let check_time = BuildError::check_range::<Duration>;
        self.limits.validate()?;
        let aggregate_bytes = Bytes(1)..=MAX_RECORD_BYTES.into();
        check_bytes("aggregate_bytes", self.aggregate_bytes.into(), aggregate_bytes)?;
        check("aggregate_records", self.aggregate_records, 1..=MAX_AGGREGATE_RECORDS)?;
        check("max_in_flight", self.max_in_flight, 1..=1_000)?;
        check_time("linger", self.linger().ceiling(), Duration::ZERO..=MINUTE)?;
        check("buffer_records", self.buffer_records(), 1..=100_000_000)?;
        let buffer_bytes = Bytes(1)..=MAX_BUFFER_BYTES.into();
        check_bytes("buffer_bytes", self.buffer_bytes.into(), buffer_bytes)?;
        self.backoff.validate()?;
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

    /// Returns which buffer settings keep requests from being full, and what to change, if there are any.
    pub(crate) fn partial_requests(&self) -> Option<String> {
        let [bytes, request] = [self.buffer_bytes, self.limits.request_bytes()];
        let [records, entries] = [self.buffer_records(), self.limits.request_entries()];
        let text = |buffer, held: &dyn Shown, limit, full: &dyn Shown| {
            let (held, full) = (held.shown(), full.shown());
            format!(
                "{buffer} is {held}, less than {limit} ({full}): raise {buffer} or lower {limit}"
            )
        };
        let mut texts = Vec::new();
        if bytes < request {
            let [bytes, request] = [bytes, request].map(Bytes::from);
            texts.push(text("buffer_bytes", &bytes, "limits.request_bytes", &request));
        }
        // With aggregation, an entry takes many records or one: nothing follows from their number.
        if !self.is_aggregating() && records < entries {
            texts.push(text("buffer_records", &records, "limits.request_entries", &entries));
        }
        (!texts.is_empty()).then(|| texts.join("; "))
    }

    /// Whether another record is accepted beside what is held.
    pub(crate) fn has_room(&self, held: Size) -> bool {
        held.records < self.buffer_records() && held.bytes < self.buffer_bytes
    }

    pub(crate) fn is_aggregating(&self) -> bool {
        self.aggregation != Aggregation::Off
    }

    /// Returns whether aggregation or ordering relies on partition keys to determine the shard.
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
        assert_eq!(settings.linger(), Linger::Adaptive(ms));
        assert_eq!(settings.buffer_records(), 10_000);
        settings.aggregation = Aggregation::PerKey;
        assert_eq!(settings.linger(), Linger::Fixed(ms));
        assert_eq!(settings.buffer_records(), 100_000);
    }

    #[test]
    fn set_values_override_defaults_of_aggregation() {
        let settings = Settings {
            aggregation: Aggregation::PerShard,
            linger: Linger::Adaptive(Duration::ZERO),
            buffer_records: Some(5),
            ..Settings::default()
        };
        assert_eq!(settings.linger(), Linger::Adaptive(Duration::ZERO));
        assert_eq!(settings.buffer_records(), 5);
    }

    #[test]
    fn default_settings_are_in_range() {
        assert_eq!(Settings::default().validate(), Ok(()));
    }

    #[test]
    fn validate_names_changed_setting_of_conflict() {
        let told = |base, ceiling| {
            let backoff = BackoffSettings { base, ceiling };
            Settings { backoff, ..Settings::default() }.validate().unwrap_err().to_string()
        };
        let BackoffSettings { base, ceiling } = BackoffSettings::default();
        assert_eq!(
            told(MINUTE, ceiling),
            "backoff.base is 1m, more than backoff.ceiling (3s): raise backoff.ceiling or lower backoff.base"
        );
        assert_eq!(
            told(base, MILLISECOND),
            "backoff.ceiling is 1ms, less than backoff.base (100ms): raise backoff.ceiling or lower backoff.base"
        );
    }

    #[test]
    fn small_buffer_keeps_requests_partial() {
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
