use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::builder::SinkBuilder;
use super::fatal_policy::FatalPolicy;
use crate::duration;
use crate::limits::Limits;
#[cfg(feature = "metrics")]
use crate::metrics::MetricsGranularity;
use crate::pipeline::{AggregateKey, Aggregation, Linger, Ordering};

/// Settings of a [`SinkBuilder`] that can sit in a configuration file (feature `serde`).
///
/// The keys are the builder's words, each with the default and the range that are told there. Durations are
/// text such as `"100ms"` or `"1h 30m"`, sizes are numbers of bytes. What is absent leaves the builder as it
/// is; a key that does not exist is refused. [`SinkBuilder::with_settings`] takes them over, and `build`
/// checks their ranges.
///
/// `with_aggregate_units` sets the same as `aggregate_bytes`. What is no data has to be set in code:
/// `with_classify`, `with_dead_letters`, `with_stream_info`. So has `with_seed`, which is for tests.
///
/// All of them, most with their defaults, but for `metrics = "shard"` (or `"stream"`, `"off"`), which needs the
/// feature `metrics`:
///
/// ```
/// use kinesis_sink::{KinesisSink, SinkSettings, StreamId};
///
/// #[derive(serde::Deserialize)]
/// struct Config {
///     stream: StreamId,
///     #[serde(default)]
///     sink: SinkSettings,
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
///     fatal_policy = "stop"               # or "keep_trying"
///
///     [sink.limits]
///     request_entries = 500
///     request_bytes = 5_242_880
///     record_bytes = 1_048_576            # by default what the stream takes, if it is described
///     shard_records = 1_000               # a second
///     shard_bytes = 1_048_576             # a second
/// "#)?;
///
/// # async fn run(client: aws_sdk_kinesis::Client, config: Config) -> Result<(), kinesis_sink::BuildError> {
/// let sink = KinesisSink::builder()
///     .with_settings(config.sink)
///     .build(&client, &config.stream)?;
/// # Ok(())
/// # }
/// # Ok::<_, toml::de::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct SinkSettings {
    /// See [`with_limits`](SinkBuilder::with_limits). They replace those of the builder as a whole: what is
    /// absent in them has its default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// See [`with_max_in_flight`](SinkBuilder::with_max_in_flight).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_in_flight: Option<usize>,
    /// See [`with_linger`](SinkBuilder::with_linger).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub linger: Option<Linger>,
    /// See [`with_aggregation`](SinkBuilder::with_aggregation).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aggregation: Option<Aggregation>,
    /// See [`with_aggregate_bytes`](SinkBuilder::with_aggregate_bytes).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aggregate_bytes: Option<usize>,
    /// See [`with_aggregate_records`](SinkBuilder::with_aggregate_records).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aggregate_records: Option<usize>,
    /// See [`with_aggregate_key`](SinkBuilder::with_aggregate_key).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aggregate_key: Option<AggregateKey>,
    /// See [`with_ordering`](SinkBuilder::with_ordering).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ordering: Option<Ordering>,
    /// `false` is [`without_describe_stream`](SinkBuilder::without_describe_stream), `true` takes that back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub describe_stream: Option<bool>,
    /// See [`with_buffer_records`](SinkBuilder::with_buffer_records).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub buffer_records: Option<usize>,
    /// See [`with_buffer_bytes`](SinkBuilder::with_buffer_bytes).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub buffer_bytes: Option<usize>,
    /// See [`with_backoff`](SinkBuilder::with_backoff).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Backoff>,
    /// See [`with_max_attempts`](SinkBuilder::with_max_attempts).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// See [`with_deadline`](SinkBuilder::with_deadline).
    #[serde(with = "duration::optional", skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Duration>,
    /// See [`with_credentials_timeout`](SinkBuilder::with_credentials_timeout).
    #[serde(with = "duration::optional", skip_serializing_if = "Option::is_none")]
    pub credentials_timeout: Option<Duration>,
    /// See [`with_request_timeout`](SinkBuilder::with_request_timeout).
    #[serde(with = "duration::optional", skip_serializing_if = "Option::is_none")]
    pub request_timeout: Option<Duration>,
    /// See [`with_max_request_timeout`](SinkBuilder::with_max_request_timeout).
    #[serde(with = "duration::optional", skip_serializing_if = "Option::is_none")]
    pub max_request_timeout: Option<Duration>,
    /// See [`with_fatal_policy`](SinkBuilder::with_fatal_policy).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fatal_policy: Option<FatalPolicy>,
    /// See [`with_metrics`](SinkBuilder::with_metrics). Feature `metrics`.
    #[cfg(feature = "metrics")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<MetricsGranularity>,
}

/// The waits after failures, in [`SinkSettings`]. See [`SinkBuilder::with_backoff`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backoff {
    /// The longest wait after the first failure.
    #[serde(with = "duration")]
    pub base: Duration,
    /// The longest wait of all.
    #[serde(with = "duration")]
    pub ceiling: Duration,
}

impl SinkBuilder {
    /// Takes over what `settings` tell, and leaves everything else as it is (feature `serde`). See
    /// [`SinkSettings`].
    pub fn with_settings(self, settings: SinkSettings) -> Self {
        // All by name, so that none is forgotten.
        let SinkSettings {
            limits,
            max_in_flight,
            linger,
            aggregation,
            aggregate_bytes,
            aggregate_records,
            aggregate_key,
            ordering,
            describe_stream,
            buffer_records,
            buffer_bytes,
            backoff,
            max_attempts,
            deadline,
            credentials_timeout,
            request_timeout,
            max_request_timeout,
            fatal_policy,
            #[cfg(feature = "metrics")]
            metrics,
        } = settings;
        #[cfg(feature = "metrics")]
        let this = self.told(metrics, Self::with_metrics);
        #[cfg(not(feature = "metrics"))]
        let this = self;
        this.told(limits, Self::with_limits)
            .told(max_in_flight, Self::with_max_in_flight)
            .told(linger, Self::with_linger)
            .told(aggregation, Self::with_aggregation)
            .told(aggregate_bytes, Self::with_aggregate_bytes)
            .told(aggregate_records, Self::with_aggregate_records)
            .told(aggregate_key, Self::with_aggregate_key)
            .told(ordering, Self::with_ordering)
            .told(describe_stream, Self::described_or_not)
            .told(buffer_records, Self::with_buffer_records)
            .told(buffer_bytes, Self::with_buffer_bytes)
            .told(backoff, |builder, Backoff { base, ceiling }| builder.with_backoff(base, ceiling))
            .told(max_attempts, Self::with_max_attempts)
            .told(deadline, Self::with_deadline)
            .told(credentials_timeout, Self::with_credentials_timeout)
            .told(request_timeout, Self::with_request_timeout)
            .told(max_request_timeout, Self::with_max_request_timeout)
            .told(fatal_policy, Self::with_fatal_policy)
    }

    fn told<T>(self, value: Option<T>, with: impl FnOnce(Self, T) -> Self) -> Self {
        match value {
            Some(value) => with(self, value),
            None => self,
        }
    }

    fn described_or_not(mut self, describe: bool) -> Self {
        self.describes_stream = describe;
        self
    }
}
