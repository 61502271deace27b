//! Appending records, and the creation and sealing of segments.

use std::io;

use super::segment::{Segment, TEMPORARY, segment_name};
use super::{Active, AppendError, Appended, Log, LogError, LogEvent, SpooledRecord, copy, is_full};
use crate::spool::files::Files;
use crate::spool::format::{
    FRAME_HEADER_BYTES, Header, MAX_BODY_BYTES, SEGMENT_FOOTER_BYTES, SEGMENT_HEADER_BYTES,
    frame_bytes,
};

/// Maximum size of a write. It bounds the memory for a large batch.
const MAX_WRITE_BYTES: u64 = 4 << 20;

/// If the disk has no space for a whole segment, smaller ones of at least this size are tried.
const MIN_SEGMENT_BYTES: u64 = 64 << 10;

/// Unsynced bytes above which a sync is due before its time.
const MAX_UNSYNCED_BYTES: usize = 8 << 20;

/// Header and footer of a segment.
const OVERHEAD_BYTES: u64 = SEGMENT_HEADER_BYTES + SEGMENT_FOOTER_BYTES;

impl<F: Files> Log<F> {
    /// Appends a prefix of `records`. They are durable after the next sync.
    ///
    /// `count` is less than the number of records only if `stopped` has a reason. Call `append` again with the rest,
    /// for example when space is available.
    pub(crate) fn append(&mut self, records: &[SpooledRecord]) -> Appended {
        let mut count = 0;
        let mut stopped = None;
        while count < records.len() {
            match self.append_some(&records[count..]) {
                Ok(appended) => count += appended,
                Err(error) => {
                    stopped = Some(error);
                    break;
                }
            }
        }
        self.full = matches!(stopped, Some(AppendError::Full));
        Appended { first: self.next_seq - count as u64, count, stopped }
    }

    /// Returns `true` if the unsynced records have more than 8 MiB, so that a sync is due before its time.
    pub(crate) fn sync_is_due(&self) -> bool {
        self.unsynced.len() > MAX_UNSYNCED_BYTES
    }

    /// Appends at least one record with one write.
    fn append_some(&mut self, records: &[SpooledRecord]) -> Result<usize, AppendError> {
        let needed = frame_bytes(&records[0].record) as u64;
        if needed > (FRAME_HEADER_BYTES + MAX_BODY_BYTES) as u64
            || needed + OVERHEAD_BYTES > self.append_limit()
        {
            return Err(AppendError::TooLarge);
        }
        match self.try_append(records, needed)? {
            Ok(count) => Ok(count),
            Err(_) => match self.try_append(records, needed)? {
                Ok(count) => Ok(count),
                Err(error) => Err(AppendError::Io(error)),
            },
        }
    }

    /// Appends records to the newest segment. The inner error means that the segment was abandoned.
    fn try_append(
        &mut self,
        records: &[SpooledRecord],
        needed: u64,
    ) -> Result<Result<usize, LogError>, AppendError> {
        self.prepare_active(needed)?;
        let Some(active) = &self.active else { unreachable!("it was prepared") };
        let segment = self.segments.get_mut(&active.first).expect("the active segment exists");
        let space = (active.frames_limit - segment.end).min(MAX_WRITE_BYTES.max(needed));
        let start = self.unsynced.len();
        let mut count = 0;
        for record in records {
            let bytes = frame_bytes(&record.record);
            if (self.unsynced.len() - start + bytes) as u64 > space {
                break;
            }
            record.encode(segment.salt, segment.next + count as u64, &mut self.unsynced);
            count += 1;
        }
        // A failed write is tried with fewer records, because the disk may have space for them.
        loop {
            let frames = &self.unsynced[start..];
            let Err(error) = self.files.write_at(&active.file, segment.end, frames) else { break };
            // The written part could be taken for records that follow a shorter write.
            let cut = self.files.set_size(&active.file, segment.end);
            if !is_full(&error) || cut.is_err() {
                self.unsynced.truncate(start);
                segment.failed = true;
                let name = segment.name();
                let returned = copy(&error);
                self.abandon_active(error);
                return Ok(Err(self.error("write", &name, returned)));
            }
            count /= 2;
            let bytes: usize =
                records[..count].iter().map(|record| frame_bytes(&record.record)).sum();
            self.unsynced.truncate(start + bytes);
            if count == 0 {
                return Err(AppendError::Full);
            }
        }
        let oldest = records[..count].iter().map(|record| record.accepted_at_ms).min();
        if self.unacked == 0 {
            self.ages = super::Ages::default();
        }
        self.ages.add(segment.next, oldest.unwrap_or(0));
        segment.oldest_accepted_at_ms = segment.oldest_accepted_at_ms.or(oldest).min(oldest);
        segment.end += (self.unsynced.len() - start) as u64;
        segment.next += count as u64;
        segment.file_bytes = segment.file_bytes.max(segment.end);
        self.next_seq = segment.next;
        self.unacked += count as u64;
        if !self.settings.keeps_unsynced {
            self.unsynced.clear();
        }
        Ok(Ok(count))
    }

    /// Prepares a segment with space for a frame.
    fn prepare_active(&mut self, needed: u64) -> Result<(), AppendError> {
        if self.moving.is_some() {
            self.sync_records().map_err(AppendError::Io)?;
        }
        if self.active_has_space(needed) {
            return Ok(());
        }
        let capacity = self.capacity(needed);
        if !self.limit_allows(capacity) {
            // Removes the acknowledged segments.
            let _ = self.write_acks();
            if !self.limit_allows(capacity) {
                return Err(AppendError::Full);
            }
        }
        while self.active.is_some() {
            if let Err(error) = self.seal_active()
                && (self.moving.is_some() || self.active.is_some())
            {
                return Err(AppendError::Io(error));
            }
            // If the sync failed, the records are in a new segment, which may have space.
            if self.active_has_space(needed) {
                return Ok(());
            }
        }
        self.create_active(needed)
    }

    fn active_has_space(&self, needed: u64) -> bool {
        self.active.as_ref().is_some_and(|active| {
            let segment = &self.segments[&active.first];
            let space = active.frames_limit.saturating_sub(segment.end);
            // After unreadable records, the sequence numbers continue in a new segment.
            space >= needed && segment.next == self.next_seq
        })
    }

    /// Returns the size of a segment that has space for a frame.
    fn capacity(&self, needed: u64) -> u64 {
        self.settings.segment_bytes.max(needed + OVERHEAD_BYTES)
    }

    /// Returns the size up to which records are appended. The rest of the space is for acknowledgements.
    fn append_limit(&self) -> u64 {
        self.settings.max_bytes - self.settings.max_bytes / 32
    }

    /// Returns `true` if a new segment of this size is within the limit, after the newest one has been sealed.
    fn limit_allows(&self, capacity: u64) -> bool {
        let mut used = self.disk_bytes();
        if let Some(active) = &self.active {
            let segment = &self.segments[&active.first];
            used -= segment.file_bytes.saturating_sub(segment.end + SEGMENT_FOOTER_BYTES);
        }
        used + capacity <= self.append_limit()
    }

    /// Creates a segment for the next record, or continues an empty one.
    fn create_active(&mut self, needed: u64) -> Result<(), AppendError> {
        let first = self.next_seq;
        let name = segment_name(first);
        let reused = self.segments.get(&first).is_some_and(|segment| !segment.failed);
        let opened = if reused {
            self.files.open(&name).and_then(|file| {
                self.files.set_size(&file, SEGMENT_HEADER_BYTES)?;
                Ok(file)
            })
        } else {
            let header = Header { salt: self.rng.u32(..), first };
            let created = self.create_segment_file(header);
            if created.is_ok() {
                let id = self.new_segment_id();
                self.segments.insert(first, Segment::new(id, header));
            }
            created
        };
        let file = opened.map_err(|error| self.append_error("create", &name, error))?;
        self.entries_dirty = true;
        let capacity = match self.reserve(&file, needed) {
            Ok(capacity) => capacity,
            Err(error) => {
                // The empty segment remains and is used by the next append.
                let _ = self.files.set_size(&file, SEGMENT_HEADER_BYTES);
                return Err(self.append_error("reserve space for", &name, error));
            }
        };
        let segment = self.segments.get_mut(&first).expect("inserted above");
        segment.file_bytes = capacity;
        self.active = Some(Active {
            file,
            first,
            frames_limit: capacity - SEGMENT_FOOTER_BYTES,
            synced_next: first,
            synced_end: SEGMENT_HEADER_BYTES,
        });
        // The previous segments can be removed from now on, because the sequence numbers continue in this one.
        let older = self.segments.range(..first);
        let acked = older.filter(|(_, segment)| segment.unacked() == 0).map(|(first, _)| *first);
        self.dirty_acks.extend(acked);
        Ok(())
    }

    /// Creates the file of a segment with its header, and replaces an empty segment with the same name.
    ///
    /// An empty segment that was found when the log was opened is replaced, not continued, because its acknowledgement
    /// file can contain records that did not survive a crash.
    pub(super) fn create_segment_file(&self, header: Header) -> io::Result<F::File> {
        let name = segment_name(header.first);
        let temporary = format!("{name}{TEMPORARY}");
        let created = self.create_file(&temporary).and_then(|file| {
            self.files.write_at(&file, 0, &header.encode())?;
            // After a power failure, a segment without a valid header would be regarded as damaged.
            self.files.sync(&file)?;
            self.files.rename(&temporary, &name)?;
            Ok(file)
        });
        if created.is_err() {
            let _ = self.files.remove(&temporary);
        }
        created
    }

    /// Creates a file, and replaces a file that was left by a failed operation.
    pub(super) fn create_file(&self, name: &str) -> io::Result<F::File> {
        match self.files.create(name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.files.remove(name)?;
                self.files.create(name)
            }
            result => result,
        }
    }

    /// Reserves space for a segment and returns its size, which is smaller than usual if the disk is almost full.
    fn reserve(&self, file: &F::File, needed: u64) -> io::Result<u64> {
        let mut capacity = self.capacity(needed);
        let smallest = (needed + OVERHEAD_BYTES).max(MIN_SEGMENT_BYTES);
        loop {
            match self.files.preallocate(file, capacity) {
                Ok(()) => return Ok(capacity),
                Err(error) if error.kind() == io::ErrorKind::Unsupported => return Ok(capacity),
                Err(error) if is_full(&error) && capacity / 2 >= smallest => {
                    // A part of the space may have been reserved.
                    self.files.set_size(file, SEGMENT_HEADER_BYTES)?;
                    capacity /= 2;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn append_error(&self, action: &'static str, name: &str, error: io::Error) -> AppendError {
        if is_full(&error) {
            AppendError::Full
        } else {
            AppendError::Io(self.error(action, name, error))
        }
    }

    /// Stops writing to the newest segment after a failed write.
    fn abandon_active(&mut self, error: io::Error) {
        let Some(first) = self.active.as_ref().map(|active| active.first) else { return };
        let path = self.path(&segment_name(first));
        self.push_event(LogEvent::SegmentAbandoned { path, error });
        if self.segments[&first].is_empty() {
            self.active = None;
            return;
        }
        // If the sync fails, the records before the failed write are moved to a new segment, which stays active.
        if self.sync_records().is_ok()
            && let Some(active) = self.active.take_if(|active| self.segments[&active.first].failed)
        {
            self.cut(&active.file, active.first);
        }
    }

    /// Gives back the space after the frames of a segment that is not sealed.
    pub(super) fn cut(&mut self, file: &F::File, first: u64) {
        let segment = self.segments.get_mut(&first).expect("the segment exists");
        if self.files.set_size(file, segment.end).is_ok() {
            segment.file_bytes = segment.end;
        }
    }

    /// Syncs and seals the newest segment, so that no more records are appended to it.
    ///
    /// # Errors
    ///
    /// Returns an error if its records could not be made durable. If they were moved to a new segment, that segment is
    /// not sealed.
    pub(super) fn seal_active(&mut self) -> Result<(), LogError> {
        let Some(first) = self.active.as_ref().map(|active| active.first) else { return Ok(()) };
        let id = self.segments[&first].id;
        self.sync_records()?;
        let segments = &self.segments;
        let Some(active) = self.active.take_if(|active| segments[&active.first].id == id) else {
            return Ok(());
        };
        if segments[&first].is_empty() {
            // It is continued by the next append.
            self.cut(&active.file, first);
        } else {
            self.seal(&active.file, first);
        }
        Ok(())
    }

    /// Writes the footer of a segment whose records are durable.
    ///
    /// If this fails, the segment has no footer. It is scanned when the log is opened, and no record is lost.
    pub(super) fn seal(&mut self, file: &F::File, first: u64) {
        let segment = self.segments.get_mut(&first).expect("the segment exists");
        let size = segment.end + SEGMENT_FOOTER_BYTES;
        let footer = segment.footer().encode();
        let sealed = self
            .files
            .write_at(file, segment.end, &footer)
            .and_then(|()| self.files.set_size(file, size))
            .and_then(|()| self.files.sync(file));
        match sealed {
            Ok(()) => {
                segment.file_bytes = size;
                segment.sealed = true;
                if segment.unacked() == 0 {
                    self.dirty_acks.insert(first);
                }
            }
            Err(error) => {
                segment.file_bytes = segment.file_bytes.max(size);
                let path = self.files.path().join(segment.name());
                self.cut(file, first);
                self.push_event(LogEvent::SealFailed { path, error });
            }
        }
    }
}
