//! Settings of a router.

#[cfg(feature = "serde")]
mod overlay;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::budget::BudgetSettings;
use crate::build_error::BuildError;
#[cfg(feature = "serde")]
use crate::settings::read;
use crate::settings::{DAY, MINUTE, Settings};
use crate::stream::StreamId;

const MIN_IDLE_TIMEOUT: Duration = Duration::from_secs(1);

/// Maximum of `max_streams`. An account has at most a few thousand streams by default, but can raise the quota.
const MAX_STREAMS: usize = 1_000_000;

/// Maximum of `metric_streams`. Each label value adds about 30 metrics, and three for each shard.
#[cfg(feature = "metrics")]
const MAX_METRIC_STREAMS: usize = 10_000;

/// Settings of a [`Router`](super::Router) and of its streams.
///
/// [`defaults`](Self::defaults) applies to every stream that has no entry in [`streams`](Self::streams):
///
/// ```
/// use kinesis_sink::router::RouterSettings;
/// use kinesis_sink::{RecordOrdering, Settings};
///
/// let mut settings = RouterSettings::default();
/// settings.max_streams = 500;
/// settings.defaults.max_attempts = Some(100);
/// let mut orders = settings.defaults.clone();
/// orders.ordering = RecordOrdering::PerKey;
/// settings.streams.insert("orders".parse()?, orders);
///
/// assert_eq!(settings.settings_of(&"clicks".parse()?).ordering, RecordOrdering::Unordered);
/// # Ok::<_, kinesis_sink::error::ParseError>(())
/// ```
///
/// # Configuration files
///
/// With the feature `serde`, router settings can be deserialized from a configuration file. Values have the same
/// [formats](Settings#configuration-files) as in [`Settings`]. If a key is missing, the default applies. An unknown key
/// is an error.
///
/// Each table under `streams` overlays the table `defaults`: a key that is missing for a stream has its value from
/// `defaults`. The tables `limits` and `backoff` are overlaid key by key. To unset an optional setting that is set in
/// `defaults`, use `"none"`.
///
/// Error messages name a setting by its path in the file, such as `streams.clicks.limits.record_bytes`.
///
/// The following example contains all keys except `metric_streams`, which requires the feature `metrics`. The values
/// are the defaults, except in the tables of streams: `clicks` has aggregation, and `orders` has ordering and a maximum
/// number of attempts. Both streams inherit the remaining settings from `defaults`:
///
/// ```
/// use kinesis_sink::router::RouterSettings;
/// use kinesis_sink::{Aggregation, RecordOrdering};
///
/// let settings: RouterSettings = toml::from_str(r#"
///     idle_timeout = "5m"
///     max_streams = 10_000
///     when_full = "evict"                 # or "reject"
///
///     [budget]                            # of all streams together
///     buffer_records = 100_000
///     buffer_bytes = "64MiB"
///     max_in_flight = 256                 # requests
///
///     [defaults]                          # keys of `Settings`
///     max_attempts = "none"
///     limits = { request_bytes = "5MiB" }
///
///     [streams.clicks]
///     aggregation = "per_key"
///     limits = { record_bytes = "512KiB" }
///
///     [streams.orders]                    # or the ARN of the stream, in quotes
///     ordering = "per_key"
///     max_attempts = 100
/// "#)?;
/// settings.validate()?;
///
/// let clicks = settings.settings_of(&"clicks".parse()?);
/// assert_eq!(clicks.aggregation, Aggregation::PerKey);
/// assert_eq!(clicks.ordering, RecordOrdering::Unordered);
/// assert_eq!(clicks.limits.request_bytes(), 5 * 1024 * 1024);
/// let orders = settings.settings_of(&"orders".parse()?);
/// assert_eq!(orders.aggregation, Aggregation::Off);
/// assert_eq!(orders.max_attempts, Some(100));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
// Generates associated functions instead of the traits, which `overlay` implements with them.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(remote = "Self", default, deny_unknown_fields))]
#[non_exhaustive]
pub struct RouterSettings {
    /// Settings of the [budget](crate::budget) that all streams share.
    ///
    /// The router does not use these settings if it is built with a separate budget.
    pub budget: BudgetSettings,
    /// Time after which an idle stream is closed: 1 s to 7 days. Default: 5 minutes.
    ///
    /// See [open streams](super#open-streams) for when a stream is idle. The next use opens the stream again.
    #[cfg_attr(
        feature = "serde",
        serde(
            deserialize_with = "read::idle_timeout",
            serialize_with = "humantime_serde::serialize"
        )
    )]
    pub idle_timeout: Duration,
    /// Maximum number of open streams: 1 to 1,000,000. Default: 10,000.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "read::max_streams"))]
    pub max_streams: usize,
    /// Behavior of the router when a stream is to be opened and [`max_streams`](Self::max_streams) are open. Default:
    /// [`WhenFull::Evict`].
    pub when_full: WhenFull,
    /// Maximum number of streams with separate [metrics](crate::metrics#streams-of-a-router): 0 to 10,000. Default:
    /// 100.
    ///
    /// The first streams that the router opens have metrics with their names as the label `stream`. All other streams
    /// share the label value `/other`.
    #[cfg(feature = "metrics")]
    #[cfg_attr(feature = "serde", serde(deserialize_with = "read::metric_streams"))]
    pub metric_streams: usize,
    /// Settings of every stream that has no entry in [`streams`](Self::streams).
    pub defaults: Settings,
    /// Settings of individual streams. Default: empty.
    ///
    /// Each value contains all settings of its stream. Only in a [configuration file](Self#configuration-files) does
    /// it overlay [`defaults`](Self::defaults). [`settings_of`](Self::settings_of) describes which entry applies to a
    /// stream.
    pub streams: BTreeMap<StreamId, Settings>,
}

/// Settings of the streams of a router.
#[derive(Debug)]
pub(super) struct StreamSettings {
    defaults: Arc<Settings>,
    streams: BTreeMap<StreamId, Arc<Settings>>,
}

impl StreamSettings {
    /// See [`RouterSettings::settings_of`].
    pub(super) fn of(&self, stream: &StreamId) -> &Arc<Settings> {
        settings_in(&self.streams, stream).unwrap_or(&self.defaults)
    }
}

/// Returns the settings under the ARN of a stream, or else under its name.
fn settings_in<'a, T>(streams: &'a BTreeMap<StreamId, T>, stream: &StreamId) -> Option<&'a T> {
    streams.get(stream).or_else(|| streams.get(stream.name()))
}

/// Behavior of a [`Router`](super::Router) when a stream is to be opened and the maximum number of streams is open.
///
/// See [`RouterSettings::max_streams`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum WhenFull {
    /// Closes the idle stream that has not been used for the longest time. If no stream is idle, the call waits until
    /// one is idle. The default.
    #[default]
    Evict,
    /// Returns [`ErrorKind::TooManyStreams`](crate::ErrorKind::TooManyStreams) with the record.
    Reject,
}

impl Default for RouterSettings {
    fn default() -> Self {
        Self {
            budget: BudgetSettings::default(),
            idle_timeout: 5 * MINUTE,
            max_streams: 10_000,
            when_full: WhenFull::default(),
            #[cfg(feature = "metrics")]
            metric_streams: 100,
            defaults: Settings::default(),
            streams: BTreeMap::new(),
        }
    }
}

impl RouterSettings {
    /// Returns the settings of a stream.
    ///
    /// These are the settings in [`streams`](Self::streams) under the given name or ARN. If there are none under an
    /// ARN, those under the name in the ARN apply, and otherwise [`defaults`](Self::defaults). Settings under an ARN do
    /// not apply to a stream that is given by its name, because a name does not determine the account and the region.
    #[must_use]
    pub fn settings_of(&self, stream: &StreamId) -> &Settings {
        settings_in(&self.streams, stream).unwrap_or(&self.defaults)
    }

    /// Converts the settings of the streams, so that many streams can share them.
    pub(super) fn into_shared(self) -> StreamSettings {
        let share = |(stream, settings)| (stream, Arc::new(settings));
        StreamSettings {
            defaults: Arc::new(self.defaults),
            streams: self.streams.into_iter().map(share).collect(),
        }
    }

    /// Checks that each setting is within its range, and that the settings do not contradict each other.
    ///
    /// # Errors
    ///
    /// Returns [`BuildError::OutOfRange`] or [`BuildError::Conflict`] for the first invalid setting. The error names
    /// the setting by its path, such as `streams.clicks.max_in_flight`.
    pub fn validate(&self) -> Result<(), BuildError> {
        self.budget.validate().map_err(|error| error.in_table("budget"))?;
        let idle_timeout = MIN_IDLE_TIMEOUT..=7 * DAY;
        BuildError::check_range("idle_timeout", self.idle_timeout, idle_timeout)?;
        BuildError::check_range("max_streams", self.max_streams, 1..=MAX_STREAMS)?;
        #[cfg(feature = "metrics")]
        BuildError::check_range("metric_streams", self.metric_streams, 0..=MAX_METRIC_STREAMS)?;
        self.defaults.validate().map_err(|error| error.in_table("defaults"))?;
        for (stream, settings) in &self.streams {
            let in_stream =
                |error: BuildError| error.in_table(&format!("streams.{}", quoted(stream.as_ref())));
            settings.validate().map_err(in_stream)?;
        }
        Ok(())
    }
}

/// Quotes a key for a path, as in TOML, if it contains characters such as the dots of a stream name.
fn quoted(key: &str) -> Cow<'_, str> {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    if key.bytes().all(is_bare) { key.into() } else { format!("{key:?}").into() }
}
