//! Making records durable, and moving them to a new segment if that fails.

use std::io;

use super::segment::{Segment, TEMPORARY, ack_name, segment_name};
use super::{Active, Log, LogError, LogEvent, copy};
use crate::spool::files::Files;
use crate::spool::format::{Header, SEGMENT_FOOTER_BYTES, SEGMENT_HEADER_BYTES};

/// How often unsynced records are written to a new segment before the error is returned.
const MAX_MOVES: usize = 2;

/// Unsynced records that are written to a new segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Move {
    /// First sequence number of their segment.
    pub(super) first: u64,
    /// Sequence number of the first unsynced record, and the offset of its frame.
    pub(super) synced_next: u64,
    pub(super) synced_end: u64,
    /// Whether nothing is appended to the new segment. After a crash, the acknowledgement file can contain records that
    /// did not survive, so their sequence numbers must not be used again in the segment.
    pub(super) is_recovery: bool,
}

impl<F: Files> Log<F> {
    /// Makes all appended records, and all acknowledgements, durable.
    ///
    /// Acknowledgements that cannot be written are reported as events and are written later.
    ///
    /// # Errors
    ///
    /// Returns an error if appended records could not be made durable, even in a new segment. They are kept, and the
    /// next sync writes them to another new segment.
    pub(crate) fn sync(&mut self) -> Result<(), LogError> {
        let records = self.sync_records();
        let _ = self.write_acks();
        self.sync_acks();
        let entries = if self.entries_dirty { self.sync_entries() } else { Ok(()) };
        records.and(entries)
    }

    /// Makes all appended records durable, but not the acknowledgements.
    ///
    /// # Errors
    ///
    /// See [`sync`](Self::sync).
    pub(crate) fn sync_records(&mut self) -> Result<(), LogError> {
        let mut synced = self.sync_active();
        for _ in 0..MAX_MOVES {
            if self.moving.is_none() {
                break;
            }
            synced = self.move_unsynced();
        }
        // The entries of segments that were found when the log was opened may not be durable.
        if synced.is_ok() && self.entries_dirty {
            synced = self.sync_entries();
        }
        synced
    }

    /// Returns `true` if a sync, or writing acknowledgements, has something to do.
    #[cfg(test)]
    pub(crate) fn is_dirty(&self) -> bool {
        self.moving.is_some()
            || self.entries_dirty
            || !self.dirty_acks.is_empty()
            || !self.unsynced_acks.is_empty()
            || self.has_unsynced()
    }

    /// Returns `true` if the newest segment has records that are not durable.
    pub(super) fn has_unsynced(&self) -> bool {
        self.active
            .as_ref()
            .is_some_and(|active| active.synced_next != self.segments[&active.first].next)
    }

    fn sync_active(&mut self) -> Result<(), LogError> {
        let Some(active) = &mut self.active else { return Ok(()) };
        let (next, end) = {
            let segment = &self.segments[&active.first];
            (segment.next, segment.end)
        };
        if active.synced_next == next {
            return Ok(());
        }
        let name = segment_name(active.first);
        let synced = match self.files.sync(&active.file) {
            Ok(()) if self.entries_dirty => self.sync_entries(),
            Ok(()) => Ok(()),
            Err(error) => Err(self.error("sync", &name, error)),
        };
        let Err(error) = synced else {
            if let Some(active) = &mut self.active {
                active.synced_next = next;
                active.synced_end = end;
            }
            self.clear_unsynced();
            return Ok(());
        };
        // The sync is not repeated, because it could succeed although the data was discarded.
        let Some(active) = self.active.take() else { return Err(error) };
        let unsynced = next - active.synced_next;
        let keeps = self.settings.keeps_unsynced;
        self.report_sync_failure(
            &error,
            if keeps { unsynced } else { 0 },
            if keeps { 0 } else { unsynced },
        );
        if keeps {
            let Active { first, synced_next, synced_end, .. } = active;
            self.moving = Some(Move { first, synced_next, synced_end, is_recovery: false });
        } else {
            self.cut(&active.file, active.first);
        }
        Err(error)
    }

    fn report_sync_failure(&mut self, error: &LogError, moved: u64, unprotected: u64) {
        if let LogError::Io { path, source, .. } = error {
            let (path, error) = (path.clone(), copy(source));
            self.push_event(LogEvent::SyncFailed { path, error, moved, unprotected });
        }
    }

    /// Releases the memory of the unsynced records, except for the usual size.
    fn clear_unsynced(&mut self) {
        let usual = (2 * self.unsynced.len()).max(64 << 10);
        self.unsynced.clear();
        if self.unsynced.capacity() > 2 * usual {
            self.unsynced.shrink_to(usual);
        }
    }

    /// Writes the unsynced records to a new segment, with the same sequence numbers.
    ///
    /// The old segment keeps them until they are durable, so that the process can be killed at any time. Later, its
    /// frames whose sequence numbers are in the new segment are ignored.
    fn move_unsynced(&mut self) -> Result<(), LogError> {
        let Some(moving) = self.moving else { return Ok(()) };
        let header = Header { first: moving.synced_next, ..self.segments[&moving.first].header() };
        let name = segment_name(header.first);
        let temporary = format!("{name}{TEMPORARY}");
        let end = SEGMENT_HEADER_BYTES + self.unsynced.len() as u64;
        let capacity = self.moved_capacity(&moving, end + SEGMENT_FOOTER_BYTES);
        let mut synced = false;
        // Windows cannot replace a file that is open.
        self.reader = None;
        // The file gets its name when it is complete, because a segment hides the same records of an older one.
        let written = self.create_file(&temporary).and_then(|file| {
            // Without reserved space, the records are written nevertheless.
            let _ = self.files.preallocate(&file, capacity);
            self.files.write_at(&file, 0, &header.encode())?;
            self.files.write_at(&file, SEGMENT_HEADER_BYTES, &self.unsynced)?;
            synced = true;
            self.files.sync(&file)?;
            self.files.rename(&temporary, &name)?;
            Ok(file)
        });
        self.entries_dirty = true;
        let written = match written {
            Ok(file) => self.sync_entries().map(|()| file),
            Err(error) => {
                let _ = self.files.remove(&temporary);
                Err(self.error("write", &name, error))
            }
        };
        let file = match written {
            Ok(file) => file,
            Err(error) => {
                if synced {
                    let moved = self.segments[&moving.first].next - header.first;
                    self.report_sync_failure(&error, moved, 0);
                }
                return Err(error);
            }
        };
        self.moving = None;
        let id = self.new_segment_id();
        // If no record of the old segment is durable, the new one has the same name and has replaced it.
        let replaces = header.first == moving.first;
        let old = self.segments.get_mut(&moving.first).expect("the old segment exists");
        let mut segment = Segment::new(id, header);
        segment.next = old.next;
        segment.end = end;
        segment.file_bytes = capacity;
        segment.oldest_accepted_at_ms = old.oldest_accepted_at_ms;
        if replaces {
            segment.acked = std::mem::take(&mut old.acked);
            segment.pending = std::mem::take(&mut old.pending);
            segment.ack_end = old.ack_end;
            segment.rewrites_acks = old.rewrites_acks;
        } else {
            let number = old.number(header.first);
            segment.acked = old.acked.split_off(number);
            segment.pending = segment.acked.ranges().to_vec();
            if !segment.pending.is_empty() {
                self.dirty_acks.insert(header.first);
            }
            old.pending.retain_mut(|range| {
                range.end = range.end.min(number);
                range.start < range.end
            });
            old.next = header.first;
            old.end = moving.synced_end;
            if old.unacked() == 0 {
                self.dirty_acks.insert(moving.first);
            }
            self.cut_and_seal(moving.first);
        }
        let synced_next = segment.next;
        self.segments.insert(header.first, segment);
        self.clear_unsynced();
        if moving.is_recovery {
            self.cut(&file, header.first);
            self.seal(&file, header.first);
            return Ok(());
        }
        self.active = Some(Active {
            file,
            first: header.first,
            frames_limit: capacity - SEGMENT_FOOTER_BYTES,
            synced_next,
            synced_end: end,
        });
        Ok(())
    }

    /// Returns the size of the segment for moved records, which need `needed` bytes.
    fn moved_capacity(&self, moving: &Move, needed: u64) -> u64 {
        let old = &self.segments[&moving.first];
        let kept = self.disk_bytes() - old.file_bytes.saturating_sub(moving.synced_end);
        let available = self.settings.max_bytes.saturating_sub(kept);
        self.settings.segment_bytes.min(available).max(needed)
    }

    /// Cuts a segment after its synced records and seals it, if that is possible.
    fn cut_and_seal(&mut self, first: u64) {
        let Ok(file) = self.files.open(&segment_name(first)) else { return };
        let end = self.segments[&first].end;
        self.cut(&file, first);
        if self.segments[&first].file_bytes == end {
            self.seal(&file, first);
        }
    }

    /// Makes created, renamed, and removed files durable.
    pub(super) fn sync_entries(&mut self) -> Result<(), LogError> {
        if let Err(source) = self.files.sync_directory() {
            let path = self.files.path().to_owned();
            return Err(LogError::Io { action: "sync directory", path, source });
        }
        self.entries_dirty = false;
        for (first, _) in std::mem::take(&mut self.orphaned_acks) {
            // A file that remains is removed when the log is opened.
            let _ = self.files.remove(&ack_name(first));
        }
        Ok(())
    }

    /// Makes everything durable, seals the last segment, and releases the lock.
    ///
    /// # Errors
    ///
    /// Returns an error if records or acknowledgements could not be made durable. The lock is released in any case.
    pub(crate) fn close(mut self) -> Result<(), LogError> {
        let sealed = self.seal_active();
        let acks = self.write_acks();
        let mut synced = self.sync();
        // An acknowledgement file whose write or sync failed is written again.
        if !self.dirty_acks.is_empty() {
            let written = self.write_acks();
            self.sync_acks();
            synced = synced.and(written).and(self.sync_entries());
        }
        if let (Ok(()), Some(first)) = (&synced, self.dirty_acks.first()) {
            let failed = io::Error::other("it failed twice");
            synced = Err(self.error("sync", &ack_name(*first), failed));
        }
        self.files.unlock();
        sealed.and(acks).and(synced)
    }
}
