use std::ops::RangeInclusive;

use crate::build_error::{BuildError, Bytes};
#[cfg(feature = "serde")]
use crate::settings::read;
use crate::settings::{MAX_BUFFER_BYTES, MAX_BUFFER_RECORDS};

/// Settings of a [`Budget`](super::Budget).
///
/// ```
/// use kinesis_sink::budget::{Budget, BudgetSettings};
///
/// let mut settings = BudgetSettings::default();
/// settings.buffer_bytes = 256 * 1024 * 1024;
/// let budget = Budget::new(settings)?;
/// # Ok::<_, kinesis_sink::BuildError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct BudgetSettings {
    /// Maximum number of records that all members together buffer: 1 to 100,000,000. Default: 100,000.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "read::budget_records"))]
    pub buffer_records: usize,
    /// Maximum size in bytes of the records that all members together buffer: 1 B to 1 TiB (2 GiB on 32-bit targets).
    /// Default: 64 MiB.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "read::budget_bytes"))]
    pub buffer_bytes: usize,
    /// Maximum number of requests that all members together have in flight: 1 to 100,000. Default: 256.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "read::budget_in_flight"))]
    pub max_in_flight: usize,
}

const IN_FLIGHT: RangeInclusive<usize> = 1..=100_000;

impl Default for BudgetSettings {
    fn default() -> Self {
        Self { buffer_records: 100_000, buffer_bytes: 64 * 1024 * 1024, max_in_flight: 256 }
    }
}

impl BudgetSettings {
    /// Checks that each setting is within its range.
    ///
    /// # Errors
    ///
    /// Returns [`BuildError::OutOfRange`] for the first setting that is out of range.
    pub fn validate(&self) -> Result<(), BuildError> {
        let check = BuildError::check_range::<usize>;
        check("buffer_records", self.buffer_records, 1..=MAX_BUFFER_RECORDS)?;
        let bytes = Bytes(1)..=MAX_BUFFER_BYTES.into();
        BuildError::check_range("buffer_bytes", Bytes::from(self.buffer_bytes), bytes)?;
        check("max_in_flight", self.max_in_flight, IN_FLIGHT)
    }
}
