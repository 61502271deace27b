use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::error::fmt_chain;
use crate::parse_error::ParseError;
use crate::stream::StreamId;

/// Error returned when a sink or a simulated stream cannot be built.
///
/// The message names a setting by its path in a configuration file, such as `limits.record_bytes`. Durations and sizes
/// are formatted as in a configuration file.
///
/// The `Debug` output is the message, so that an error returned from `main` is readable.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A setting is outside its range.
    #[error("{setting} is {value}; set it between {low} and {high}")]
    #[non_exhaustive]
    OutOfRange {
        /// Path of the setting.
        setting: Cow<'static, str>,
        /// Value of the setting.
        value: String,
        /// Minimum of the range.
        low: String,
        /// Maximum of the range.
        high: String,
    },
    /// Two settings contradict each other, although each setting is within its range.
    #[error(
        "{setting} is {value}, {} than {other} ({other_value}): raise {} or lower {}",
        if *.exceeds { "more" } else { "less" },
        if *.exceeds { .other } else { .setting },
        if *.exceeds { .setting } else { .other },
    )]
    #[non_exhaustive]
    Conflict {
        /// Path of the first setting, which differs from its default.
        setting: Cow<'static, str>,
        /// Value of `setting`.
        value: String,
        /// Path of the second setting.
        other: Cow<'static, str>,
        /// Value of `other`.
        other_value: String,
        /// `true` if `setting` is too large for `other`, `false` if it is too small.
        exceeds: bool,
    },
    /// The stream name or ARN is invalid.
    #[error(transparent)]
    Stream(#[from] ParseError),
    /// The region of the client differs from the region in the stream ARN.
    #[error(
        "the client's region is {client_region}, not that of {stream}: configure it for the stream's region"
    )]
    #[non_exhaustive]
    Region {
        /// The stream.
        stream: StreamId,
        /// The client's region.
        client_region: String,
    },
    /// The client has no region.
    #[error("no region is configured: set AWS_REGION, or `region` in the profile")]
    NoRegion,
    /// [`Aggregation::PerShard`](crate::Aggregation::PerShard) is set, but no source lists the shards.
    ///
    /// This error occurs only with a [custom service stack](crate::SinkBuilder::build_with), because other sinks list
    /// the shards with their client.
    #[error(
        "aggregation per shard needs the stream's shards: set a source that lists them with \
         `with_stream_info`, or aggregate per key"
    )]
    NoListShards,
    /// The spool cannot be opened.
    ///
    /// Requires the feature `spool`.
    #[cfg(feature = "spool")]
    #[error(transparent)]
    Spool(#[from] crate::spool::SpoolError),
    /// The spool [drops the oldest records](crate::spool::WhenFull::DropOldest), but the sink has no dead-letter handler.
    ///
    /// Requires the feature `spool`.
    #[cfg(feature = "spool")]
    #[error(
        "a spool that drops the oldest records needs a dead-letter handler: set one with `with_dead_letters`, or set \
         `when_full` to `WhenFull::Wait`"
    )]
    NoDeadLetters,
    /// A simulated stream cannot be changed as requested.
    ///
    /// Requires the feature `sim`.
    #[cfg(feature = "sim")]
    #[error("{reason}")]
    #[non_exhaustive]
    Simulation {
        /// Reason and fix.
        reason: String,
    },
}

impl BuildError {
    /// Returns the path of the invalid setting, such as `limits.record_bytes`, if the error refers to a setting.
    #[must_use]
    pub fn setting(&self) -> Option<&str> {
        match self {
            Self::OutOfRange { setting, .. } | Self::Conflict { setting, .. } => Some(setting),
            _ => None,
        }
    }

    /// Prefixes the paths of settings with the path of the table that contains them.
    pub(crate) fn in_table(mut self, table: &str) -> Self {
        let prefix = |path: &mut Cow<'static, str>| *path = format!("{table}.{path}").into();
        match &mut self {
            Self::OutOfRange { setting, .. } => prefix(setting),
            Self::Conflict { setting, other, .. } => {
                prefix(setting);
                prefix(other);
            }
            _ => {}
        }
        self
    }

    pub(crate) fn check_range<T: PartialOrd + Shown>(
        setting: &'static str,
        value: T,
        range: RangeInclusive<T>,
    ) -> Result<(), Self> {
        if range.contains(&value) {
            return Ok(());
        }
        Err(Self::OutOfRange {
            setting: setting.into(),
            value: value.shown(),
            low: range.start().shown(),
            high: range.end().shown(),
        })
    }

    /// Returns an error if `low` exceeds `high`. Each argument contains the path, the value and the default of a
    /// setting. The first setting in the error is one that differs from its default.
    pub(crate) fn check_order<T: Copy + PartialOrd + Shown>(
        low: (&'static str, T, T),
        high: (&'static str, T, T),
    ) -> Result<(), Self> {
        let ((low, low_value, low_default), (high, high_value, high_default)) = (low, high);
        if low_value <= high_value {
            return Ok(());
        }
        let exceeds = low_value != low_default || high_value == high_default;
        let low = (low, low_value);
        let high = (high, high_value);
        let (first, second) = if exceeds { (low, high) } else { (high, low) };
        Err(Self::Conflict {
            setting: first.0.into(),
            value: first.1.shown(),
            other: second.0.into(),
            other_value: second.1.shown(),
            exceeds,
        })
    }
}

impl fmt::Debug for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_chain(self, f)
    }
}

impl From<Infallible> for BuildError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// Value of a setting that can be formatted as in a configuration file.
pub(crate) trait Shown {
    fn shown(&self) -> String;
}

/// Size, formatted in the largest unit that represents it exactly, such as `10MiB`.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
pub(crate) struct Bytes(pub(crate) u64);

impl From<usize> for Bytes {
    fn from(bytes: usize) -> Self {
        Self(bytes as u64)
    }
}

impl Shown for Bytes {
    fn shown(&self) -> String {
        let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
        let whole = |&(_, bits): &(&str, u32)| self.0 != 0 && self.0.trailing_zeros() >= bits;
        let (unit, bits) = units.into_iter().find(whole).unwrap_or(("B", 0));
        format!("{}{unit}", self.0 >> bits)
    }
}

impl Shown for Duration {
    fn shown(&self) -> String {
        let (seconds, nanos) = (self.as_secs(), self.subsec_nanos());
        let parts = [
            (seconds / 86_400, "d"),
            (seconds / 3_600 % 24, "h"),
            (seconds / 60 % 60, "m"),
            (seconds % 60, "s"),
            (u64::from(nanos / 1_000_000), "ms"),
            (u64::from(nanos / 1_000 % 1_000), "us"),
            (u64::from(nanos % 1_000), "ns"),
        ];
        let parts = parts.into_iter().filter(|(count, _)| *count > 0);
        let parts: Vec<_> = parts.map(|(count, unit)| format!("{count}{unit}")).collect();
        if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") }
    }
}

macro_rules! shown_as_number {
    ($($number:ty),*) => {
        $(impl Shown for $number {
            fn shown(&self) -> String {
                format!("{self:?}")
            }
        })*
    };
}

shown_as_number!(usize, u32, u64, f64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_use_largest_exact_unit() {
        let sizes = [0, 1, 1_023, 1_024, 51_200, 10 << 20, (10 << 20) + 1, 1 << 40];
        let shown = sizes.map(|size| Bytes(size).shown());
        assert_eq!(shown, ["0B", "1B", "1023B", "1KiB", "50KiB", "10MiB", "10485761B", "1TiB"]);
    }

    #[test]
    fn durations_list_every_nonzero_unit() {
        let millis = [0, 100, 1_500, 60_000, 5_400_000, 7 * 86_400_000];
        let shown = millis.map(|millis| Duration::from_millis(millis).shown());
        assert_eq!(shown, ["0s", "100ms", "1s 500ms", "1m", "1h 30m", "7d"]);
        assert_eq!(Duration::from_nanos(60_000_001_001).shown(), "1m 1us 1ns");
    }

    #[test]
    fn conflict_names_changed_setting_first() {
        let order = |low, high| {
            BuildError::check_order(("low", low, 1), ("high", high, 3)).unwrap_err().to_string()
        };
        assert_eq!(order(4_u32, 3), "low is 4, more than high (3): raise high or lower low");
        assert_eq!(order(1, 0), "high is 0, less than low (1): raise high or lower low");
        assert_eq!(order(5, 4), "low is 5, more than high (4): raise high or lower low");
        assert_eq!(BuildError::check_order(("low", 2_u32, 1), ("high", 2, 3)), Ok(()));
    }

    #[test]
    fn table_prefixes_all_paths() {
        let error = BuildError::check_order(("low", 4_u32, 1), ("high", 3, 3)).unwrap_err();
        assert_eq!(
            error.in_table("streams.clicks").to_string(),
            "streams.clicks.low is 4, more than streams.clicks.high (3): \
             raise streams.clicks.high or lower streams.clicks.low"
        );
        let error = BuildError::check_range("size", 0_u32, 1..=2).unwrap_err().in_table("a");
        assert_eq!(error.setting(), Some("a.size"));
        assert_eq!(BuildError::NoRegion.in_table("a"), BuildError::NoRegion);
    }
}
