//! Log of a spool: segments, acknowledgements, recovery.
//!
//! A log has no threads and no clock, and uses files only through [`Files`]. The format of the files is described in
//! `docs/spool.md`.
//!
//! Only the newest segment is written to. Records are appended to it with one write each time, and are durable after
//! the next [`sync`](Log::sync). Before a new segment is started, the previous one is synced and sealed, so only the
//! newest segment contains unsynced records. Their frames are kept in memory, because a failed sync may discard them.

mod acknowledge;
mod ages;
mod append;
mod damage;
mod error;
mod inspect;
mod open;
mod ranges;
mod read;
mod scan;
mod segment;
mod sync;
#[cfg(test)]
mod tests;
mod types;
mod window;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::PathBuf;

pub(crate) use super::format::SpooledRecord;
#[cfg(test)]
pub(crate) use error::Cause;
pub(crate) use error::{AppendError, Damage, LogError, LogEvent};
pub(crate) use inspect::{inspect, verify};
pub(crate) use read::Cursor;
pub(crate) use types::{Appended, LogInfo, LogSettings, LogStats, Recovered, SegmentInfo};

use super::files::Files;
use ages::Ages;
use damage::SetAside;
use segment::{ACK_SUFFIX, SEGMENT_SUFFIX, Segment};
use sync::Move;
use window::Window;

/// Result of [`Log::open`].
#[derive(Debug)]
pub(crate) struct Opened<F: Files> {
    /// Log that owns the directory.
    pub(crate) log: Log<F>,
    /// Records that were found.
    pub(crate) recovered: Recovered,
}

/// Append-only log of records with acknowledgements in any order.
pub(crate) struct Log<F: Files> {
    files: F,
    settings: LogSettings,
    /// Segments by the sequence number of their first record.
    segments: BTreeMap<u64, Segment>,
    /// Newest segment, if it can be appended to.
    active: Option<Active<F::File>>,
    /// Frames of the newest segment that are not synced.
    unsynced: Vec<u8>,
    /// Records that are written to a new segment, because their sync failed.
    moving: Option<Move>,
    next_seq: u64,
    next_segment_id: u64,
    /// Number of unacknowledged records.
    unacked: u64,
    ages: Ages,
    /// Whether files were created, renamed, or removed since the last sync of the directory.
    entries_dirty: bool,
    /// Segments with acknowledgements that are not in their file, and segments to be removed.
    dirty_acks: BTreeSet<u64>,
    /// Acknowledgement files with unsynced writes.
    unsynced_acks: BTreeSet<u64>,
    /// Acknowledgement files that are open, most recently used last.
    ack_files: Vec<(u64, F::File)>,
    /// Acknowledgement files of removed segments, with their sizes. A segment must not reappear without its acknowledgements after a
    /// crash, so the files are removed when the removal of the segments is durable.
    orphaned_acks: Vec<(u64, u64)>,
    /// Segment that is being read, with its identifier.
    reader: Option<(u64, F::File)>,
    window: Window,
    full: bool,
    /// Whether the last write of acknowledgements failed, so that the failure is reported once.
    acks_failing: bool,
    events: Vec<LogEvent>,
    damaged_frames: u64,
    damaged_records: u64,
    /// Files with damaged bytes. `None` until the first damage.
    set_aside: Option<SetAside>,
    rng: fastrand::Rng,
}

/// Segment that is appended to.
#[derive(Debug)]
struct Active<File> {
    file: File,
    first: u64,
    /// Offset at which the last frame ends at the latest. The space for the footer is behind it.
    frames_limit: u64,
    /// Sequence number after the last synced record, and the offset after it.
    synced_next: u64,
    synced_end: u64,
}

impl<F: Files> Log<F> {
    /// Returns the sequence number of the next record that is appended.
    pub(crate) fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Returns the sequence number up to which (exclusive) records are durable.
    pub(crate) fn synced_seq(&self) -> u64 {
        match (&self.moving, &self.active) {
            (Some(moving), _) => moving.synced_next,
            (None, Some(active)) if self.has_unsynced() => active.synced_next,
            (None, _) => self.next_seq,
        }
    }

    /// Returns the events since the last call.
    pub(crate) fn take_events(&mut self) -> Vec<LogEvent> {
        std::mem::take(&mut self.events)
    }

    /// Returns `true` if the last append found the log or the disk full and no segment was removed since.
    ///
    /// If the disk is full, space can become available at any time, so call [`append`](Self::append) again after a
    /// while.
    pub(crate) fn is_full(&self) -> bool {
        self.full
    }

    /// Returns the sequence number after the first complete segment that starts at `from` or later and ends at `below` or
    /// earlier. Its space is given back when all records from `from` to there are acknowledged.
    #[must_use]
    pub(crate) fn complete_segment_end(&self, from: u64, below: u64) -> Option<u64> {
        let active = self.active.as_ref().map(|active| active.first);
        let complete = self.segments.range(from..).filter(|(first, _)| Some(**first) != active);
        let mut ends =
            complete.filter(|(_, segment)| segment.unacked() > 0).map(|(_, one)| one.next);
        ends.next().filter(|end| *end <= below)
    }

    /// Returns the state of the log. The cost is proportional to the number of segments.
    pub(crate) fn stats(&self) -> LogStats {
        LogStats {
            disk_bytes: self.disk_bytes(),
            records: self.unacked,
            bytes: self.segments.values().map(Segment::unacked_bytes).sum(),
            oldest_accepted_at_ms: self
                .oldest_unacked()
                .and_then(|seq| self.ages.accepted_at_ms(seq)),
            damaged_frames: self.damaged_frames,
            damaged_records: self.damaged_records,
            segments: self.segments.len(),
            unsynced_bytes: self.unsynced.len() as u64,
        }
    }

    /// Returns the size of segments and acknowledgements, including reserved space.
    fn disk_bytes(&self) -> u64 {
        let segments = self.segments.values().map(|segment| segment.file_bytes + segment.ack_end);
        let orphaned_acks = self.orphaned_acks.iter().map(|(_, bytes)| bytes);
        segments.chain(orphaned_acks.copied()).sum()
    }

    fn oldest_unacked(&self) -> Option<u64> {
        if self.unacked == 0 {
            return None;
        }
        self.segments.values().find_map(|segment| segment.first_unacked(segment.first))
    }

    fn new_segment_id(&mut self) -> u64 {
        self.next_segment_id += 1;
        self.next_segment_id
    }

    /// Returns the path of a file, for messages.
    fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    fn error(&self, action: &'static str, name: &str, source: io::Error) -> LogError {
        LogError::Io { action, path: self.path(name), source }
    }
}

impl<F: Files> fmt::Debug for Log<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log")
            .field("path", &self.files.path())
            .field("settings", &self.settings)
            .field("next_seq", &self.next_seq)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

/// Returns `true` if the error means that the disk or the quota is full.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Copies an error that is both returned and reported as an event.
fn copy(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => error.kind().into(),
    }
}
