use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::aggregation::Packing;
use super::ledger::Size;
use super::linger::Linger;
use super::metrics::MetricsGranularity;
use super::ordering::Ordering;
use crate::build_error::SettingError;
use crate::limits::Limits;
use crate::service::{Classify, DefaultClassify};

/// What a [`Pipeline`](super::Pipeline) is told once.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) limits: Limits,
    pub(crate) max_in_flight: usize,
    pub(crate) linger: Linger,
    pub(crate) packing: Packing,
    pub(crate) ordering: Ordering,
    /// Whether the shards are to be listed even if no aggregation needs it.
    pub(crate) lists_shards: bool,
    pub(crate) buffer_records: usize,
    pub(crate) buffer_bytes: usize,
    pub(crate) backoff_base: Duration,
    pub(crate) backoff_ceiling: Duration,
    pub(crate) max_attempts: Option<u32>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) credentials_timeout: Duration,
    pub(crate) classify: Arc<dyn Classify>,
    pub(crate) metrics: MetricsGranularity,
    pub(crate) seed: Option<u64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            max_in_flight: 4,
            linger: Linger::default(),
            packing: Packing::default(),
            ordering: Ordering::default(),
            lists_shards: false,
            buffer_records: 10_000,
            buffer_bytes: 32 * 1024 * 1024,
            backoff_base: Duration::from_millis(100),
            backoff_ceiling: Duration::from_secs(3),
            max_attempts: None,
            deadline: None,
            credentials_timeout: Duration::from_secs(300),
            classify: Arc::new(DefaultClassify),
            metrics: match cfg!(feature = "metrics") {
                true => MetricsGranularity::Shard,
                false => MetricsGranularity::Off,
            },
            seed: None,
        }
    }
}

impl Settings {
    const MILLISECOND: Duration = Duration::from_millis(1);
    const MINUTE: Duration = Duration::from_secs(60);
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    /// 1 TiB, or what the target can address.
    const MAX_BUFFER_BYTES: usize = if usize::BITS > 32 { (1 << 20) * (1 << 20) } else { 1 << 31 };

    /// Whether another record is accepted beside what is held.
    pub(crate) fn has_room(&self, held: Size) -> bool {
        held.records < self.buffer_records && held.bytes < self.buffer_bytes
    }

    pub(crate) fn validate(&self) -> Result<(), SettingError> {
        self.limits.validate()?;
        self.packing.validate()?;
        SettingError::check("max_in_flight", self.max_in_flight, 1..=1_000)?;
        SettingError::check("linger", self.linger.ceiling(), Duration::ZERO..=Self::MINUTE)?;
        SettingError::check("buffer_records", self.buffer_records, 1..=100_000_000)?;
        SettingError::check("buffer_bytes", self.buffer_bytes, 1..=Self::MAX_BUFFER_BYTES)?;
        SettingError::check("backoff_base", self.backoff_base, Self::MILLISECOND..=Self::MINUTE)?;
        let ceilings = self.backoff_base..=Self::MINUTE;
        SettingError::check("backoff_ceiling", self.backoff_ceiling, ceilings)?;
        if let Some(attempts) = self.max_attempts {
            SettingError::check("max_attempts", attempts, 1..=u32::MAX)?;
        }
        if let Some(deadline) = self.deadline {
            SettingError::check("deadline", deadline, Self::MILLISECOND..=7 * Self::DAY)?;
        }
        let timeouts = Duration::ZERO..=7 * Self::DAY;
        SettingError::check("credentials_timeout", self.credentials_timeout, timeouts)
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("limits", &self.limits)
            .field("max_in_flight", &self.max_in_flight)
            .field("linger", &self.linger)
            .field("packing", &self.packing)
            .field("ordering", &self.ordering)
            .field("lists_shards", &self.lists_shards)
            .field("buffer_records", &self.buffer_records)
            .field("buffer_bytes", &self.buffer_bytes)
            .field("backoff_base", &self.backoff_base)
            .field("backoff_ceiling", &self.backoff_ceiling)
            .field("max_attempts", &self.max_attempts)
            .field("deadline", &self.deadline)
            .field("credentials_timeout", &self.credentials_timeout)
            .field("metrics", &self.metrics)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}
