//! Acknowledgements, and the removal of segments whose records are all acknowledged.

use std::io;
use std::mem;
use std::ops::Range;

use super::segment::{Segment, TEMPORARY, ack_name, segment_name};
use super::{Log, LogError, LogEvent, copy};
use crate::spool::files::Files;
use crate::spool::format::{Header, encode_acks};

/// Maximum number of acknowledgement files that are open.
const MAX_OPEN_ACK_FILES: usize = 4;

/// Size above which an acknowledgement file is written again, if it has more than four times the necessary size.
const COMPACTION_BYTES: u64 = 64 << 10;

impl<F: Files> Log<F> {
    /// Acknowledges records, in memory. Sequence numbers that do not exist, and records that were acknowledged before,
    /// are ignored.
    pub(crate) fn acknowledge(&mut self, records: Range<u64>) {
        if records.is_empty() {
            return;
        }
        let start =
            self.segments.range(..=records.start).next_back().map_or(0, |(first, _)| *first);
        for (first, segment) in self.segments.range_mut(start..records.end) {
            let added = segment.acknowledge(records.clone());
            if added > 0 {
                self.unacked -= u64::from(added);
                self.dirty_acks.insert(*first);
            }
        }
    }

    /// Writes acknowledgements, without a sync, and removes segments whose records are all acknowledged.
    ///
    /// # Errors
    ///
    /// Returns the first error. Acknowledgements that could not be written are written by the next call.
    pub(crate) fn write_acks(&mut self) -> Result<(), LogError> {
        let mut result = Ok(());
        for first in mem::take(&mut self.dirty_acks) {
            // Acknowledgements of moved records belong to the file of the new segment.
            if self.moving.is_some_and(|moving| moving.first == first) {
                self.dirty_acks.insert(first);
                continue;
            }
            let removed = match self.remove_if_acked(first) {
                Ok(removed) => removed,
                Err(error) => {
                    self.dirty_acks.insert(first);
                    self.report(&mut result, error, "remove", &segment_name(first));
                    false
                }
            };
            if !removed && let Err(error) = self.write_acks_of(first) {
                self.dirty_acks.insert(first);
                self.report(&mut result, error, "write", &ack_name(first));
            }
        }
        self.acks_failing = result.is_err();
        if let Some(oldest) = self.oldest_unacked() {
            self.ages.advance(oldest);
        }
        result
    }

    fn report(
        &mut self,
        result: &mut Result<(), LogError>,
        error: io::Error,
        action: &'static str,
        name: &str,
    ) {
        if !self.acks_failing {
            let path = self.path(name);
            self.push_event(match action {
                "remove" => LogEvent::RemoveFailed { path, error: copy(&error) },
                _ => LogEvent::AckWriteFailed { path, error: copy(&error) },
            });
        }
        if result.is_ok() {
            *result = Err(self.error(action, name, error));
        }
    }

    /// Removes a segment if all its records are acknowledged and nothing is appended to it.
    fn remove_if_acked(&mut self, first: u64) -> io::Result<bool> {
        let Some(segment) = self.segments.get(&first) else { return Ok(true) };
        let in_use =
            segment.is_empty() || self.active.as_ref().is_some_and(|active| active.first == first);
        if in_use || segment.unacked() > 0 {
            return Ok(false);
        }
        let id = segment.id;
        if !self.seal_predecessor(first) {
            return Ok(false);
        }
        if self.segments.range(first + 1..).next().is_none() && self.create_marker().is_err() {
            return Ok(false);
        }
        if self.reader.as_ref().is_some_and(|(read, _)| *read == id) {
            self.reader = None;
        }
        match self.files.remove(&segment_name(first)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let ack_bytes = self.segments.remove(&first).map_or(0, |segment| segment.ack_end);
        self.ack_files.retain(|(other, _)| *other != first);
        self.unsynced_acks.remove(&first);
        self.orphaned_acks.push((first, ack_bytes));
        self.entries_dirty = true;
        self.full = false;
        Ok(true)
    }

    /// Seals the segment before a segment that is to be removed. Returns `false` if that fails.
    ///
    /// A segment without a footer ends where the next one starts.
    fn seal_predecessor(&mut self, first: u64) -> bool {
        let Some((&first, segment)) = self.segments.range(..first).next_back() else { return true };
        if !segment.sealed && !segment.is_empty() {
            if self.moving.is_some_and(|moving| moving.first == first) {
                return false;
            }
            if let Ok(file) = self.files.open(&segment_name(first)) {
                self.cut(&file, first);
                self.seal(&file, first);
            }
        }
        self.segments.get(&first).is_none_or(|segment| segment.sealed || segment.is_empty())
    }

    /// Creates an empty segment, so that the sequence numbers continue when the newest segment is removed.
    fn create_marker(&mut self) -> Result<(), LogError> {
        let header = Header { salt: self.rng.u32(..), first: self.next_seq };
        let name = segment_name(header.first);
        let created = self.create_segment_file(header);
        self.entries_dirty = true;
        created.map_err(|error| self.error("create", &name, error))?;
        if let Err(error) = self.sync_entries() {
            let _ = self.files.remove(&name);
            return Err(error);
        }
        let id = self.new_segment_id();
        self.segments.insert(header.first, Segment::new(id, header));
        Ok(())
    }

    /// Writes the pending acknowledgements of a segment.
    fn write_acks_of(&mut self, first: u64) -> io::Result<()> {
        let Some(segment) = self.segments.get(&first) else { return Ok(()) };
        if segment.rewrites_acks {
            return self.rewrite_acks(first);
        }
        if segment.pending.is_empty() {
            return Ok(());
        }
        let mut frames = Vec::new();
        encode_acks(segment.salt, &segment.pending, &mut frames);
        let end = segment.ack_end;
        if self.disk_bytes() + frames.len() as u64 > self.settings.max_bytes {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let at = self.open_ack_file(first)?;
        let file = &self.ack_files[at].1;
        if let Err(error) = self.files.write_at(file, end, &frames) {
            let _ = self.files.set_size(file, end);
            return Err(error);
        }
        self.unsynced_acks.insert(first);
        let segment = self.segments.get_mut(&first).expect("found above");
        segment.pending.clear();
        segment.ack_end += frames.len() as u64;
        if segment.ack_end > COMPACTION_BYTES {
            let mut compact = Vec::new();
            encode_acks(segment.salt, segment.acked.ranges(), &mut compact);
            if segment.ack_end > 4 * compact.len() as u64 {
                return self.rewrite_acks(first);
            }
        }
        Ok(())
    }

    /// Writes all acknowledgements of a segment to a new file that replaces the old one.
    fn rewrite_acks(&mut self, first: u64) -> io::Result<()> {
        let name = ack_name(first);
        let temporary = format!("{name}{TEMPORARY}");
        self.orphaned_acks.retain(|(other, _)| *other != first);
        let segment = &self.segments[&first];
        let mut frames = Vec::new();
        encode_acks(segment.salt, segment.acked.ranges(), &mut frames);
        self.ack_files.retain(|(other, _)| *other != first);
        let written = self.create_file(&temporary).and_then(|file| {
            self.files.write_at(&file, 0, &frames)?;
            self.files.sync(&file)?;
            drop(file);
            self.files.rename(&temporary, &name)
        });
        if let Err(error) = written {
            let _ = self.files.remove(&temporary);
            return Err(error);
        }
        self.entries_dirty = true;
        self.unsynced_acks.remove(&first);
        let segment = self.segments.get_mut(&first).expect("indexed above");
        segment.pending.clear();
        segment.ack_end = frames.len() as u64;
        segment.rewrites_acks = false;
        Ok(())
    }

    /// Returns the index of an open acknowledgement file.
    fn open_ack_file(&mut self, first: u64) -> io::Result<usize> {
        if let Some(at) = self.ack_files.iter().position(|(other, _)| *other == first) {
            let used = self.ack_files.remove(at);
            self.ack_files.push(used);
            return Ok(self.ack_files.len() - 1);
        }
        let name = ack_name(first);
        let file = if self.segments[&first].ack_end == 0 {
            self.orphaned_acks.retain(|(other, _)| *other != first);
            self.entries_dirty = true;
            self.create_file(&name)?
        } else {
            let file = self.files.open(&name)?;
            // The rest of an incomplete write.
            self.files.set_size(&file, self.segments[&first].ack_end)?;
            file
        };
        if self.ack_files.len() == MAX_OPEN_ACK_FILES {
            let (closed, file) = self.ack_files.remove(0);
            // Errors of a sync are not reported reliably after the file was closed.
            if self.unsynced_acks.remove(&closed) {
                self.sync_ack_file(closed, &file);
            }
        }
        self.ack_files.push((first, file));
        Ok(self.ack_files.len() - 1)
    }

    /// Syncs the acknowledgement files.
    pub(super) fn sync_acks(&mut self) {
        if self.unsynced_acks.is_empty() {
            return;
        }
        let unsynced = mem::take(&mut self.unsynced_acks);
        for (first, file) in mem::take(&mut self.ack_files) {
            if !unsynced.contains(&first) || self.sync_ack_file(first, &file) {
                self.ack_files.push((first, file));
            }
        }
    }

    /// Syncs a file. If this fails, its contents are unknown, and the next call of `write_acks` replaces it.
    fn sync_ack_file(&mut self, first: u64, file: &F::File) -> bool {
        let Err(error) = self.files.sync(file) else { return true };
        let path = self.path(&ack_name(first));
        self.push_event(LogEvent::AckWriteFailed { path, error });
        if let Some(segment) = self.segments.get_mut(&first) {
            segment.rewrites_acks = true;
            self.dirty_acks.insert(first);
        }
        false
    }

    /// Returns `true` if all acknowledgements are durable.
    #[cfg(test)]
    pub(super) fn acks_are_durable(&self) -> bool {
        self.dirty_acks.is_empty() && self.unsynced_acks.is_empty() && !self.entries_dirty
    }
}
