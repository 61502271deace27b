use super::error::{AppendError, Damage};

/// Settings of a log.
#[derive(Debug, Clone)]
pub(crate) struct LogSettings {
    /// Maximum size of segments and acknowledgements on disk, in bytes. At least 1 MiB.
    pub(crate) max_bytes: u64,
    /// Size of a segment in bytes. It is limited to a quarter of `max_bytes`.
    pub(crate) segment_bytes: u64,
    /// Keeps records in memory until they are synced, so that they can be written again if a sync fails.
    pub(crate) keeps_unsynced: bool,
    /// Verifies all records in [`Log::open`](super::Log::open), which returns an error if any is damaged.
    pub(crate) strict: bool,
}

/// Contents of a spool when it was opened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Recovered {
    /// Number of unacknowledged records.
    pub(crate) records: u64,
    /// Size of the unacknowledged records on disk, estimated from the mean size in their segments.
    pub(crate) bytes: u64,
    /// Size of incomplete writes at the end of segments, which were cut.
    pub(crate) torn_bytes: u64,
    /// Damage that was found. Damaged frames in sealed segments are found only when they are read.
    pub(crate) damage: Vec<Damage>,
}

/// Result of [`Log::append`](super::Log::append).
#[derive(Debug)]
pub(crate) struct Appended {
    /// Sequence number of the first record that was appended. The others follow consecutively.
    pub(crate) first: u64,
    /// Number of records that were appended.
    pub(crate) count: usize,
    /// Reason why not all records were appended.
    pub(crate) stopped: Option<AppendError>,
}

/// State of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct LogStats {
    /// Size of segments, including preallocated space, and of acknowledgements, in bytes.
    pub(crate) disk_bytes: u64,
    /// Number of unacknowledged records.
    pub(crate) records: u64,
    /// Size of the unacknowledged records on disk, estimated from the mean size in their segments.
    pub(crate) bytes: u64,
    /// Lower bound of the time at which the oldest unacknowledged record was accepted, in milliseconds since the Unix
    /// epoch.
    pub(crate) oldest_accepted_at_ms: Option<u64>,
    /// Number of damaged places found since the log was opened.
    pub(crate) damaged_frames: u64,
    /// Number of records lost by damage since the log was opened.
    pub(crate) damaged_records: u64,
    /// Number of segments.
    pub(crate) segments: usize,
    /// Size of the records that are kept until the next sync, in bytes.
    pub(crate) unsynced_bytes: u64,
}

/// Segment of a spool, for an inspection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SegmentInfo {
    /// Sequence number of the first record, which is the name of the file.
    pub(crate) first: u64,
    /// Number of records, including the missing ones.
    pub(crate) records: u64,
    /// Number of records that are neither acknowledged nor missing.
    pub(crate) unacknowledged: u64,
    /// Size of the file in bytes.
    pub(crate) bytes: u64,
    /// Whether the segment has a valid footer.
    pub(crate) sealed: bool,
    /// Time at which the oldest record was accepted, in milliseconds since the Unix epoch.
    pub(crate) oldest_accepted_at_ms: Option<u64>,
}

/// Result of [`inspect`](super::inspect) and [`verify`](super::verify).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct LogInfo {
    /// Segments, oldest first.
    pub(crate) segments: Vec<SegmentInfo>,
    /// Number of unacknowledged records.
    pub(crate) records: u64,
    /// Size of segments and acknowledgements on disk, in bytes.
    pub(crate) disk_bytes: u64,
    /// Size of incomplete writes at the end of segments, which are cut when the log is opened.
    pub(crate) torn_bytes: u64,
    /// Number of files with damaged bytes that were set aside.
    pub(crate) damaged_files: u64,
    /// Size of the files with damaged bytes.
    pub(crate) damaged_file_bytes: u64,
    /// Damage that was found. An inspection finds only damage of headers, footers, and acknowledgements.
    pub(crate) damage: Vec<Damage>,
}
