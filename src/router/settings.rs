use std::collections::BTreeMap;
use std::time::Duration;

use crate::budget::BudgetSettings;
use crate::build_error::BuildError;
use crate::settings::Settings;
use crate::stream::StreamId;

/// Settings of a [`Router`](super::Router).
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct RouterSettings {
    /// Settings of the [budget](crate::budget) that all streams share.
    pub budget: BudgetSettings,
    /// Time after which an idle stream is closed: 1 s to 7 days. Default: 5 minutes.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub idle_timeout: Duration,
    /// Maximum number of open streams: 1 to 1,000,000. Default: 10,000.
    pub max_streams: usize,
    /// Behavior when a stream is to be opened and [`max_streams`](Self::max_streams) are open. Default:
    /// [`WhenFull::Evict`].
    pub when_full: WhenFull,
    /// Settings of every stream that has no entry in [`streams`](Self::streams).
    pub defaults: Settings,
    /// Settings of individual streams. Default: empty.
    pub streams: BTreeMap<StreamId, Settings>,
}

/// Behavior of a [`Router`](super::Router) when a stream is to be opened and the maximum number of streams is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum WhenFull {
    /// Closes the idle stream that has not been used for the longest time.
    #[default]
    Evict,
    /// Returns an error with the record.
    Reject,
}

impl Default for RouterSettings {
    fn default() -> Self {
        Self {
            budget: BudgetSettings::default(),
            idle_timeout: Duration::from_secs(300),
            max_streams: 10_000,
            when_full: WhenFull::default(),
            defaults: Settings::default(),
            streams: BTreeMap::new(),
        }
    }
}

impl RouterSettings {
    /// Returns the settings of a stream.
    #[must_use]
    pub fn settings_of(&self, stream: &StreamId) -> &Settings {
        self.streams.get(stream).unwrap_or(&self.defaults)
    }

    /// Checks that each setting is within its range.
    ///
    /// # Errors
    ///
    /// Returns [`BuildError::OutOfRange`] or [`BuildError::Conflict`] for the first invalid setting.
    pub fn validate(&self) -> Result<(), BuildError> {
        self.budget.validate()?;
        let idle_timeout = Duration::from_secs(1)..=Duration::from_secs(7 * 24 * 3_600);
        BuildError::check_range("idle_timeout", self.idle_timeout, idle_timeout)?;
        BuildError::check_range("max_streams", self.max_streams, 1..=1_000_000)?;
        self.defaults.validate()?;
        self.streams.values().try_for_each(Settings::validate)
    }
}
