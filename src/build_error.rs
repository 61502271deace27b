//! Why a sink cannot be built.

use std::convert::Infallible;
use std::fmt::Debug;
use std::ops::RangeInclusive;

use crate::stream::{RegionMismatch, StreamIdError};

/// Why a sink could not be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A setting is outside its range.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// The stream's name or ARN is wrong.
    #[error(transparent)]
    Stream(#[from] StreamIdError),
    /// The stream's ARN names another region than the client.
    #[error(transparent)]
    Region(#[from] RegionMismatch),
    /// The client has no region, so it cannot know where to send.
    #[error("no region is configured: set AWS_REGION, or `region` in the profile")]
    NoRegion,
    /// Aggregation per shard over a stack of the user's own, without a source of the shards.
    #[error(
        "aggregation per shard needs the stream's shards: set a source that lists them with \
         `with_stream_info`, or aggregate per key"
    )]
    NoListShards,
}

impl From<Infallible> for BuildError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// A setting outside its range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {value}; set it between {low} and {high}")]
pub struct SettingError {
    field: &'static str,
    value: String,
    low: String,
    high: String,
}

impl SettingError {
    /// Checks `value` against `range`. Numbers and durations read the same in `Debug` as in a sentence.
    pub(crate) fn check<T: PartialOrd + Debug>(
        field: &'static str,
        value: T,
        range: RangeInclusive<T>,
    ) -> Result<(), Self> {
        if range.contains(&value) {
            return Ok(());
        }
        Err(Self {
            field,
            value: format!("{value:?}"),
            low: format!("{:?}", range.start()),
            high: format!("{:?}", range.end()),
        })
    }

    /// The setting's name.
    #[must_use]
    pub fn field(&self) -> &'static str {
        self.field
    }
}
