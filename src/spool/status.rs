use std::time::Duration;

/// Status of a spool, a part of the [`Status`](crate::status::Status) of a producer.
///
/// With the feature `serde`, a status can be serialized. Durations are serialized as seconds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct SpoolStatus {
    /// Number of records that are neither delivered nor taken: on disk only, in the buffer as well, or about to be
    /// written.
    pub records: u64,
    /// Sequence number of the next record, which is the number of records written since the spool was created.
    pub next_sequence: u64,
    /// Size of the spool on disk in bytes, with preallocated space.
    pub disk_bytes: u64,
    /// Time since the acceptance of the oldest record in the spool, from the system clock. `None` if the spool is empty.
    ///
    /// The age is a maximum, because only the age of the oldest record of each segment is known.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::status::seconds"))]
    pub oldest_age: Option<Duration>,
    /// Number of records that were found when the spool was opened.
    pub recovered: u64,
    /// Number of damaged places that were found since the spool was opened.
    pub damaged_frames: u64,
    /// Set to `true` while new records cannot be written, because the disk space is used up or the disk fails.
    pub is_full: bool,
    /// Latest error of the disk since the spool was opened, such as a failed sync.
    pub last_error: Option<String>,
}
