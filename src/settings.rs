//! The settings of a sink, as data.

use std::time::Duration;

use crate::build_error::SettingError;
use crate::limits::{Limits, MAX_RECORD_BYTES, PAYLOAD_UNIT_BYTES};
#[cfg(feature = "metrics")]
use crate::metrics::MetricsGranularity;
use crate::pipeline::{AggregateKey, Aggregation, Linger, RecordOrdering, Size};
use crate::sink::FatalPolicy;
use crate::timeout::TimeoutLayer;

const MILLISECOND: Duration = Duration::from_millis(1);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// 1 TiB, or what the target can address.
const MAX_BUFFER_BYTES: usize = if usize::BITS > 32 { (1 << 20) * (1 << 20) } else { 1 << 31 };

/// No aggregate reaches this limit, which is the KPL's.
const MAX_AGGREGATE_RECORDS: usize = u32::MAX as usize;

/// The settings of a [`KinesisSink`](crate::KinesisSink) that are data.
///
/// [`SinkBuilder`](crate::SinkBuilder) has a setter for each field, which documents it, and
/// [`with_settings`](crate::SinkBuilder::with_settings) for all of them. The
/// [default](Self::default) has the crate's defaults. The builder alone has the settings that are not data: the
/// classifier, the dead-letter handler, the `StreamInfo` and the seed.
///
/// # Configuration files
///
/// With the feature `serde` the settings can be read from a configuration file. The keys are the names of the
/// fields. Durations are strings such as `"100ms"` or `"1h 30m"`, sizes are numbers of bytes. A missing key means
/// the default, an unknown key is an error.
///
/// For other defaults than the crate's, use serde's `default = "function"` at the field that holds the
/// settings, or merge the file into the serialized settings before reading it, as the crates `config` and
/// `figment` do.
///
/// All keys except `metrics = "shard"` (or `"stream"`, `"off"`), which requires the feature `metrics`. Those
/// without a default (`record_bytes`, `max_attempts` and `deadline`) have an example value:
///
/// ```
/// use kinesis_sink::{SinkBuilder, Settings, StreamId};
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
///     linger = { self_clocked = "100ms" } # or { fill = "100ms" }
///     aggregation = "off"                 # or "per_key", "per_shard"
///     aggregate_bytes = 51_200
///     aggregate_records = 4_294_967_295
///     aggregate_key = "first_member"      # or "kpl"
///     ordering = "unordered"              # or "per_key"
///     describe_stream = true              # with aggregation or ordering; false: never
///     buffer_records = 10_000
///     buffer_bytes = 33_554_432
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
///     request_bytes = 5_242_880
///     record_bytes = 1_048_576            # by default the limit of the stream, if it is described
///     shard_records = 1_000               # per second
///     shard_bytes = 1_048_576             # per second
/// "#)?;
///
/// # async fn run(client: aws_sdk_kinesis::Client, config: Config) -> Result<(), kinesis_sink::BuildError> {
/// let sink = SinkBuilder::from(config.sink).build(&client, &config.stream)?;
/// # Ok(())
/// # }
/// # Ok::<_, toml::de::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct Settings {
    /// See [`with_limits`](crate::SinkBuilder::with_limits).
    pub limits: Limits,
    /// See [`with_max_in_flight`](crate::SinkBuilder::with_max_in_flight).
    pub max_in_flight: usize,
    /// See [`with_linger`](crate::SinkBuilder::with_linger). `None` for the default, which depends on
    /// `aggregation`: [`linger()`](Self::linger()).
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub linger: Option<Linger>,
    /// See [`with_aggregation`](crate::SinkBuilder::with_aggregation).
    pub aggregation: Aggregation,
    /// See [`with_aggregate_bytes`](crate::SinkBuilder::with_aggregate_bytes).
    pub aggregate_bytes: usize,
    /// See [`with_aggregate_records`](crate::SinkBuilder::with_aggregate_records).
    pub aggregate_records: usize,
    /// See [`with_aggregate_key`](crate::SinkBuilder::with_aggregate_key).
    pub aggregate_key: AggregateKey,
    /// See [`with_ordering`](crate::SinkBuilder::with_ordering).
    pub ordering: RecordOrdering,
    /// Whether the stream may be described, which is the default. See
    /// [`with_stream_info`](crate::SinkBuilder::with_stream_info) and
    /// [`without_describe_stream`](crate::SinkBuilder::without_describe_stream).
    pub describe_stream: bool,
    /// See [`with_buffer_records`](crate::SinkBuilder::with_buffer_records). `None` for the default, which
    /// depends on `aggregation`: [`buffer_records()`](Self::buffer_records()).
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub buffer_records: Option<usize>,
    /// See [`with_buffer_bytes`](crate::SinkBuilder::with_buffer_bytes).
    pub buffer_bytes: usize,
    /// See [`with_backoff`](crate::SinkBuilder::with_backoff).
    pub backoff: BackoffSettings,
    /// See [`with_max_attempts`](crate::SinkBuilder::with_max_attempts). `None` for no limit.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub max_attempts: Option<u32>,
    /// See [`with_deadline`](crate::SinkBuilder::with_deadline). `None` for no deadline.
    #[cfg_attr(
        feature = "serde",
        serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")
    )]
    pub deadline: Option<Duration>,
    /// See [`with_credentials_timeout`](crate::SinkBuilder::with_credentials_timeout).
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub credentials_timeout: Duration,
    /// See [`with_request_timeout`](crate::SinkBuilder::with_request_timeout).
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub request_timeout: Duration,
    /// See [`with_max_request_timeout`](crate::SinkBuilder::with_max_request_timeout).
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub max_request_timeout: Duration,
    /// See [`with_fatal_policy`](crate::SinkBuilder::with_fatal_policy).
    pub fatal_policy: FatalPolicy,
    /// See [`with_metrics`](crate::SinkBuilder::with_metrics). Feature `metrics`.
    #[cfg(feature = "metrics")]
    pub metrics: MetricsGranularity,
}

/// The waits after failures, in [`Settings`]. See
/// [`SinkBuilder::with_backoff`](crate::SinkBuilder::with_backoff).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct BackoffSettings {
    /// The longest wait after the first failure.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub base: Duration,
    /// The longest wait after any failure.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub ceiling: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            max_in_flight: 4,
            linger: None,
            aggregation: Aggregation::default(),
            // The arithmetic is at `SinkBuilder::with_aggregate_units`.
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
        }
    }
}

impl Default for BackoffSettings {
    fn default() -> Self {
        Self { base: Duration::from_millis(100), ceiling: Duration::from_secs(3) }
    }
}

impl Settings {
    /// Returns the linger in effect: the one that is set, or the default for the aggregation.
    #[must_use]
    pub fn linger(&self) -> Linger {
        self.linger.unwrap_or_else(|| Linger::default_with(self.aggregation))
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

    /// Checks that each setting is in its range. [`SinkBuilder::build`](crate::SinkBuilder::build) and its
    /// variants do so as well.
    ///
    /// # Errors
    ///
    /// The first setting that is out of range.
    pub fn validate(&self) -> Result<(), SettingError> {
        self.limits.validate()?;
        SettingError::check("aggregate_bytes", self.aggregate_bytes, 1..=MAX_RECORD_BYTES)?;
        let aggregate_records = 1..=MAX_AGGREGATE_RECORDS;
        SettingError::check("aggregate_records", self.aggregate_records, aggregate_records)?;
        SettingError::check("max_in_flight", self.max_in_flight, 1..=1_000)?;
        SettingError::check("linger", self.linger().ceiling(), Duration::ZERO..=MINUTE)?;
        SettingError::check("buffer_records", self.buffer_records(), 1..=100_000_000)?;
        SettingError::check("buffer_bytes", self.buffer_bytes, 1..=MAX_BUFFER_BYTES)?;
        let BackoffSettings { base, ceiling } = self.backoff;
        SettingError::check("backoff.base", base, MILLISECOND..=MINUTE)?;
        SettingError::check("backoff.ceiling", ceiling, base..=MINUTE)?;
        if let Some(attempts) = self.max_attempts {
            SettingError::check("max_attempts", attempts, 1..=u32::MAX)?;
        }
        if let Some(deadline) = self.deadline {
            SettingError::check("deadline", deadline, MILLISECOND..=7 * DAY)?;
        }
        let credentials = Duration::ZERO..=7 * DAY;
        SettingError::check("credentials_timeout", self.credentials_timeout, credentials)?;
        let request = MILLISECOND..=10 * MINUTE;
        SettingError::check("request_timeout", self.request_timeout, request.clone())?;
        SettingError::check("max_request_timeout", self.max_request_timeout, request)
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
        assert_eq!(settings.linger(), Linger::SelfClocked(ms));
        assert_eq!(settings.buffer_records(), 10_000);
        settings.aggregation = Aggregation::PerKey;
        assert_eq!(settings.linger(), Linger::Fill(ms));
        assert_eq!(settings.buffer_records(), 100_000);
    }

    #[test]
    fn set_values_override_defaults_of_aggregation() {
        let settings = Settings {
            aggregation: Aggregation::PerShard,
            linger: Some(Linger::SelfClocked(Duration::ZERO)),
            buffer_records: Some(5),
            ..Settings::default()
        };
        assert_eq!(settings.linger(), Linger::SelfClocked(Duration::ZERO));
        assert_eq!(settings.buffer_records(), 5);
    }

    #[test]
    fn default_settings_are_in_range() {
        assert_eq!(Settings::default().validate(), Ok(()));
    }

    #[test]
    fn validate_names_setting_value_and_range() {
        let backoff = BackoffSettings { base: MINUTE, ceiling: MILLISECOND };
        let settings = Settings { backoff, ..Settings::default() };
        let error = settings.validate().unwrap_err();
        assert_eq!(error.to_string(), "backoff.ceiling is 1ms; set it between 60s and 60s");
    }
}
