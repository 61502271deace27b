//! Log of a spool: segments, acknowledgements, recovery.
//!
//! A log has no threads and no clock, and uses files only through [`Files`].

mod error;

use std::ops::Range;

pub(crate) use super::format::SpooledRecord;
pub(crate) use error::{AppendError, Cause, Damage, LogError, LogEvent};

use super::files::Files;

/// Settings of a log.
#[derive(Debug, Clone)]
pub(crate) struct LogSettings {
    /// Maximum size of segments and acknowledgements on disk, in bytes. At least 1 MiB.
    pub(crate) max_bytes: u64,
    /// Size of a segment in bytes. It is limited to a quarter of `max_bytes`.
    pub(crate) segment_bytes: u64,
    /// Keeps records in memory until they are synced, so that they can be written again if a sync fails.
    pub(crate) keeps_unsynced: bool,
    /// Verifies all records in [`Log::open`], which returns an error if any is damaged.
    pub(crate) strict: bool,
}

/// Result of [`Log::open`].
#[derive(Debug)]
pub(crate) struct Opened<F: Files> {
    /// Log that owns the directory.
    pub(crate) log: Log<F>,
    /// Records that were found.
    pub(crate) recovered: Recovered,
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

/// Result of [`Log::append`].
#[derive(Debug)]
pub(crate) struct Appended {
    /// Sequence number of the first record that was appended. The others follow consecutively.
    pub(crate) first: u64,
    /// Number of records that were appended.
    pub(crate) count: usize,
    /// Reason why not all records were appended.
    pub(crate) stopped: Option<AppendError>,
}

/// Position from which records are read.
#[derive(Debug, Clone)]
pub(crate) struct Cursor {
    /// Sequence number of the next record.
    seq: u64,
}

impl Cursor {
    /// Returns the sequence number from which the next read starts.
    pub(crate) fn seq(&self) -> u64 {
        self.seq
    }
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

/// Append-only log of records with acknowledgements in any order.
#[derive(Debug)]
pub(crate) struct Log<F: Files> {
    files: F,
    settings: LogSettings,
}

impl<F: Files> Log<F> {
    /// Opens the log in a directory and locks the directory.
    ///
    /// # Errors
    ///
    /// Returns an error if the directory is locked by another owner, if it cannot be read or written, if it contains a
    /// segment of an unknown version, or, with strict settings, if it is damaged.
    pub(crate) fn open(_files: F, _settings: LogSettings) -> Result<Opened<F>, LogError> {
        todo!()
    }

    /// Appends a prefix of `records`. They are durable after the next sync.
    ///
    /// `count` is less than the number of records only if `stopped` has a reason. Call `append` again with the rest,
    /// for example when space is available.
    pub(crate) fn append(&mut self, _records: &[SpooledRecord]) -> Appended {
        todo!()
    }

    /// Makes all appended records, and all acknowledgements, durable.
    ///
    /// # Errors
    ///
    /// Returns an error if appended records could not be made durable, even in a new segment. They are kept, and the
    /// next sync writes them to another new segment.
    pub(crate) fn sync(&mut self) -> Result<(), LogError> {
        todo!()
    }

    /// Makes all appended records durable, but not the acknowledgements.
    ///
    /// # Errors
    ///
    /// See [`sync`](Self::sync).
    pub(crate) fn sync_records(&mut self) -> Result<(), LogError> {
        todo!()
    }

    /// Returns `true` if the unsynced records have more than 8 MiB, so that a sync is due before its time.
    pub(crate) fn sync_is_due(&self) -> bool {
        todo!()
    }

    /// Returns `true` if a sync, or writing acknowledgements, has something to do.
    pub(crate) fn is_dirty(&self) -> bool {
        todo!()
    }

    /// Acknowledges records, in memory. Sequence numbers that do not exist, and records that were acknowledged before,
    /// are ignored.
    pub(crate) fn acknowledge(&mut self, _records: Range<u64>) {
        todo!()
    }

    /// Writes acknowledgements, without a sync, and removes segments whose records are all acknowledged.
    ///
    /// # Errors
    ///
    /// Returns the first error. Acknowledgements that could not be written are written by the next call.
    pub(crate) fn write_acks(&mut self) -> Result<(), LogError> {
        todo!()
    }

    /// Returns a cursor at the oldest unacknowledged record.
    pub(crate) fn cursor(&self) -> Cursor {
        todo!()
    }

    /// Returns a cursor at the first unacknowledged record whose sequence number is `seq` or greater.
    pub(crate) fn cursor_at(&self, seq: u64) -> Cursor {
        Cursor { seq }
    }

    /// Reads unacknowledged records in the order of their sequence numbers.
    ///
    /// Stops after `max_records` records, or when their data and keys have `max_bytes` bytes or more. An empty result
    /// means that the cursor is at the end of the log.
    pub(crate) fn read(
        &mut self,
        _cursor: &mut Cursor,
        _max_records: usize,
        _max_bytes: usize,
    ) -> Vec<(u64, SpooledRecord)> {
        todo!()
    }

    /// Returns the sequence number of the next record that is appended.
    pub(crate) fn next_seq(&self) -> u64 {
        todo!()
    }

    /// Returns the sequence number up to which (exclusive) records are durable.
    pub(crate) fn synced_seq(&self) -> u64 {
        todo!()
    }

    /// Returns the events since the last call.
    pub(crate) fn take_events(&mut self) -> Vec<LogEvent> {
        todo!()
    }

    /// Returns the state of the log. The cost is proportional to the number of partially acknowledged segments.
    pub(crate) fn stats(&self) -> LogStats {
        todo!()
    }

    /// Returns `true` if the last append found the log or the disk full and no segment was removed since.
    ///
    /// If the disk is full, space can become available at any time, so call [`append`](Self::append) again after a
    /// while.
    pub(crate) fn is_full(&self) -> bool {
        todo!()
    }

    /// Makes everything durable, seals the last segment, and releases the lock.
    ///
    /// # Errors
    ///
    /// Returns an error if records or acknowledgements could not be made durable. The lock is released in any case.
    pub(crate) fn close(self) -> Result<(), LogError> {
        todo!()
    }
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

/// Result of [`inspect`] and [`verify`].
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

/// Reads the index of a log, without a lock and without changing anything.
///
/// Takes time proportional to the number of segments, and reads unsealed segments. While another process uses the log,
/// the result is approximate.
///
/// # Errors
///
/// Returns an error if the directory or its files cannot be read, or have an unknown version.
pub(crate) fn inspect<F: Files>(_files: &F) -> Result<LogInfo, LogError> {
    todo!()
}

/// Reads and checks all records of a log, without a lock and without changing anything.
///
/// # Errors
///
/// Returns an error if the directory or its files cannot be read, or have an unknown version. Damage is no error.
pub(crate) fn verify<F: Files>(_files: &F) -> Result<LogInfo, LogError> {
    todo!()
}
