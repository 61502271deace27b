//! Opening a log: lock, index, and recovery of the segments that were not sealed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::error::{Cause, Damage, LogError};
use super::inspect::{read_acks, verify};
use super::scan::{Ends, MAX_SEQ, Scanned, read_ends, scan};
use super::segment::{Segment, TEMPORARY, ack_name, parse_name, segment_name};
use super::sync::Move;
use super::window::{Frames, Window};
use super::{ACK_SUFFIX, Log, LogEvent, LogSettings, Opened, Recovered, SEGMENT_SUFFIX};
use crate::spool::files::Files;
use crate::spool::format::{Header, SEGMENT_HEADER_BYTES, max_records};

/// Minimum number of segments within the maximum size, so that space is given back in small parts.
const MIN_SEGMENTS: u64 = 4;

/// Maximum size of a segment.
const MAX_SEGMENT_BYTES: u64 = 1 << 30;

/// Files of a spool.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// First sequence numbers and sizes, in ascending order.
    pub(super) segments: Vec<(u64, u64)>,
    /// Sizes of the acknowledgement files by the first sequence numbers of their segments.
    pub(super) acks: BTreeMap<u64, u64>,
    pub(super) temporary: Vec<String>,
}

impl Listing {
    pub(super) fn read<F: Files>(files: &F) -> Result<Self, LogError> {
        let listed = files.list().map_err(|source| LogError::Io {
            action: "list",
            path: files.path().to_owned(),
            source,
        })?;
        let mut listing = Self::default();
        for (name, size) in listed {
            if let Some(first) = parse_name(&name, SEGMENT_SUFFIX) {
                listing.segments.push((first, size));
            } else if let Some(first) = parse_name(&name, ACK_SUFFIX) {
                listing.acks.insert(first, size);
            } else if let Some(base) = name.strip_suffix(TEMPORARY)
                && [SEGMENT_SUFFIX, ACK_SUFFIX]
                    .iter()
                    .any(|suffix| parse_name(base, suffix).is_some())
            {
                listing.temporary.push(name);
            }
        }
        listing.segments.sort_unstable();
        Ok(listing)
    }

    /// Returns the first sequence number after the segment at `index`, or `u64::MAX`.
    pub(super) fn following(&self, index: usize) -> u64 {
        self.segments.get(index + 1).map_or(u64::MAX, |(first, _)| *first)
    }
}

impl<F: Files> Log<F> {
    /// Opens the log in a directory and locks the directory.
    ///
    /// Reads header, footer, and acknowledgements of each segment, but records only of segments that were not sealed.
    ///
    /// # Errors
    ///
    /// Returns an error if the directory is locked by another owner, if it cannot be read or written, if it contains a
    /// segment of an unknown version, or, with strict settings, if it is damaged.
    pub(crate) fn open(mut files: F, settings: LogSettings) -> Result<Opened<F>, LogError> {
        if let Err(source) = files.lock() {
            let path = files.path().to_owned();
            return Err(match source.kind() {
                io::ErrorKind::WouldBlock => LogError::Locked { path },
                _ => LogError::Io { action: "lock", path, source },
            });
        }
        let mut log = Self::new(files, settings);
        match log.recover() {
            Ok(recovered) => Ok(Opened { log, recovered }),
            Err(error) => {
                log.files.unlock();
                Err(error)
            }
        }
    }

    fn new(files: F, mut settings: LogSettings) -> Self {
        settings.segment_bytes =
            settings.segment_bytes.min(settings.max_bytes / MIN_SEGMENTS).min(MAX_SEGMENT_BYTES);
        Self {
            files,
            settings,
            segments: Default::default(),
            active: None,
            unsynced: Vec::new(),
            moving: None,
            next_seq: 0,
            next_segment_id: 0,
            unacked: 0,
            ages: Default::default(),
            entries_dirty: true,
            dirty_acks: BTreeSet::new(),
            unsynced_acks: BTreeSet::new(),
            ack_files: Vec::new(),
            orphaned_acks: Vec::new(),
            reader: None,
            window: Window::default(),
            full: false,
            acks_failing: false,
            events: Vec::new(),
            damaged_frames: 0,
            damaged_records: 0,
            set_aside: None,
            rng: fastrand::Rng::new(),
        }
    }

    fn recover(&mut self) -> Result<Recovered, LogError> {
        if self.settings.strict
            && let Some(damage) = verify(&self.files)?.damage.into_iter().next()
        {
            return Err(LogError::Damaged(damage));
        }
        let listing = Listing::read(&self.files)?;
        for name in &listing.temporary {
            let _ = self.files.remove(name);
        }
        let mut torn_bytes = 0;
        for (index, (first, size)) in listing.segments.iter().enumerate() {
            torn_bytes += self.recover_segment(
                *first,
                *size,
                listing.following(index),
                listing.acks.get(first).copied(),
            )?;
        }
        let unused = listing.acks.iter().filter(|(first, _)| !self.segments.contains_key(first));
        self.orphaned_acks.extend(unused.map(|(first, size)| (*first, *size)));
        for (first, segment) in &self.segments {
            self.next_seq = self.next_seq.max(segment.next);
            if let Some(time) = segment.oldest_accepted_at_ms {
                self.ages.add(*first, time);
            }
            if segment.unacked() == 0 || !segment.pending.is_empty() || segment.rewrites_acks {
                self.dirty_acks.insert(*first);
            }
        }
        let damage = self.events.iter().filter_map(|event| match event {
            LogEvent::Damage(damage) => Some(damage.clone()),
            _ => None,
        });
        Ok(Recovered {
            records: self.unacked,
            bytes: self.segments.values().map(Segment::unacked_bytes).sum(),
            torn_bytes,
            damage: damage.collect(),
        })
    }

    /// Adds a segment to the index. Returns the number of bytes that were cut.
    fn recover_segment(
        &mut self,
        first: u64,
        size: u64,
        following: u64,
        ack_bytes: Option<u64>,
    ) -> Result<u64, LogError> {
        let name = segment_name(first);
        let file = match self.files.open(&name) {
            // Segments on a read-only file system can be read.
            Err(_) => self.files.open_read_only(&name),
            file => file,
        };
        let file = file.map_err(|source| self.error("open", &name, source))?;
        match read_ends(&self.files, &mut self.window, &file, &name, first, size)? {
            Ends::Sealed(footer, _) => {
                let id = self.new_segment_id();
                let mut segment = Segment::new(id, Header { salt: footer.salt, first });
                segment.next = footer.next.min(following);
                segment.end = footer.end;
                segment.file_bytes = size;
                segment.sealed = true;
                segment.oldest_accepted_at_ms = Some(footer.oldest_accepted_at_ms);
                if let Some(bytes) = ack_bytes {
                    self.recover_acks(&mut segment, bytes);
                }
                self.unacked += segment.unacked();
                self.segments.insert(first, segment);
                Ok(0)
            }
            Ends::Unsealed(header, _) => {
                Ok(self.recover_unsealed(&file, header, size, following, ack_bytes))
            }
            Ends::Broken => {
                drop(file);
                self.recover_broken(first, size, following)?;
                Ok(0)
            }
        }
    }

    /// Scans a segment, cuts incomplete writes at its end, and seals it.
    fn recover_unsealed(
        &mut self,
        file: &F::File,
        header: Header,
        size: u64,
        following: u64,
        ack_bytes: Option<u64>,
    ) -> u64 {
        let first = header.first;
        let frames = Frames { salt: header.salt, first, end: size };
        let scanned = scan(&self.files, &mut self.window, file, frames, following);
        self.window.clear();
        let unreadable_end = scanned.unreadable_end(first, size);
        // An unreadable part is not cut, because it may be readable when the log is opened again.
        let is_readable = unreadable_end.is_none();
        let Scanned { next, end, oldest_accepted_at_ms, gaps, torn_bytes, .. } = scanned;
        let id = self.new_segment_id();
        let mut segment = Segment::new(id, header);
        segment.end = end;
        segment.file_bytes = size;
        segment.oldest_accepted_at_ms = oldest_accepted_at_ms;
        // The newest segment can end with an incomplete write. An older one was complete, so records up to the
        // following segment are missing, unless they are acknowledged.
        let newest = following == u64::MAX;
        segment.next = if newest { next } else { following.min(first + u64::from(u32::MAX)) };
        if let Some(bytes) = ack_bytes {
            self.recover_acks(&mut segment, bytes);
        }
        let number = segment.number(next);
        let missing = segment.acked.missing_in(number..segment.number(segment.next));
        segment.acked.split_off(number);
        segment.next = next;
        // An empty segment is replaced by the next append.
        if segment.is_empty() {
            segment.failed = true;
            let _ = self.files.remove(&ack_name(first));
            segment.ack_end = 0;
            segment.rewrites_acks = false;
        }
        self.unacked += segment.unacked();
        self.segments.insert(first, segment);
        for gap in gaps {
            self.set_aside(file, first, gap.offset..gap.offset + gap.bytes);
            self.lose(first, gap.offset, gap.bytes, gap.records, gap.cause);
        }
        let path = self.path(&segment_name(first));
        if newest && let Some(gap) = unreadable_end {
            self.set_aside(file, first, gap.offset..gap.offset + gap.bytes);
            let records = gap.records.end - gap.records.start;
            let (file, cause) = (path.clone(), gap.cause);
            self.report_damage(Damage {
                file,
                offset: gap.offset,
                bytes: gap.bytes,
                records,
                cause,
            });
            // Sequence numbers of its records are not used again.
            self.next_seq = self.next_seq.max(first + max_records(size) + 1);
        }
        if !newest && (torn_bytes > 0 || missing > 0) {
            self.set_aside(file, first, end..end + torn_bytes);
            let cause = match (is_readable, missing) {
                (false, _) => Cause::Unreadable,
                (true, 0) => Cause::Footer,
                (true, _) => Cause::Missing,
            };
            self.report_damage(Damage {
                file: path.clone(),
                offset: end,
                bytes: torn_bytes,
                records: u64::from(missing),
                cause,
            });
        }
        if !newest
            && next == first
            && is_readable
            && self.files.remove(&segment_name(first)).is_ok()
        {
            self.segments.remove(&first);
            return torn_bytes;
        }
        // The frames must be durable before the footer, which says that they are complete.
        if let Err(error) = self.files.sync(file) {
            self.recover_unsynced(file, first, newest, error);
            return torn_bytes;
        }
        if !is_readable {
            return torn_bytes;
        }
        self.cut(file, first);
        if end > SEGMENT_HEADER_BYTES {
            self.seal(file, first);
        }
        torn_bytes
    }

    /// Moves the records of the newest segment to a new one, because they could not be made durable.
    fn recover_unsynced(&mut self, file: &F::File, first: u64, newest: bool, error: io::Error) {
        let segment = &self.segments[&first];
        let records = segment.next - first;
        let path = self.path(&segment.name());
        let moves = newest && records > 0 && self.settings.keeps_unsynced;
        if moves {
            // The sync may have discarded them, but usually they can still be read from the cache.
            let (start, end) = (SEGMENT_HEADER_BYTES, segment.end);
            let length = (end - start) as usize;
            let frames = self.window.bytes(&self.files, file, start, length, end);
            self.unsynced.extend_from_slice(&frames[..length]);
            self.window.clear();
            self.moving =
                Some(Move { first, synced_next: first, synced_end: start, is_recovery: true });
        }
        let (moved, unprotected) = if moves { (records, 0) } else { (0, records) };
        self.push_event(LogEvent::SyncFailed { path, error, moved, unprotected });
    }

    /// Sets a segment without a valid header aside.
    ///
    /// # Errors
    ///
    /// Returns an error if the file can be neither moved nor removed, because it would hide records of other segments.
    fn recover_broken(&mut self, first: u64, size: u64, following: u64) -> Result<(), LogError> {
        let name = segment_name(first);
        let file = self.files.open_read_only(&name);
        let file = file.map_err(|source| self.error("open", &name, source))?;
        let used = self.window.last_nonzero(&self.files, &file, 0, size);
        let unreadable = self.window.has_unreadable();
        let frames = self.window.count_frames(&self.files, &file, size);
        self.window.clear();
        drop(file);
        if used == 0 && !unreadable && following == u64::MAX {
            // The file was created, and nothing else was written before a crash.
            return self.files.remove(&name).map_err(|source| self.error("remove", &name, source));
        }
        let path = self.path(&segment_name(first));
        // Without the following segment, the frames are counted by their magic.
        let records = if following == u64::MAX { frames } else { following - first };
        self.set_aside_segment(first, size)
            .map_err(|source| self.error("set aside", &name, source))?;
        self.report_damage(Damage {
            file: path,
            offset: 0,
            bytes: size,
            records,
            cause: Cause::Header,
        });
        if first <= MAX_SEQ {
            // Sequence numbers of its records are not used again.
            self.next_seq = self.next_seq.max(first + max_records(size) + 1);
        }
        Ok(())
    }

    fn recover_acks(&mut self, segment: &mut Segment, size: u64) {
        let Some((acks, damage)) =
            read_acks(&self.files, &mut self.window, segment.first, segment.salt)
        else {
            segment.rewrites_acks = true;
            return;
        };
        segment.ack_end = acks.end as u64;
        // The file can contain writes of a process that was killed, which are not durable, and an incomplete one.
        let durable = self.files.open(&ack_name(segment.first)).and_then(|file| {
            if segment.ack_end < size {
                self.files.set_size(&file, segment.ack_end)?;
            }
            self.files.sync(&file)
        });
        segment.rewrites_acks = durable.is_err();
        let records = segment.number(segment.next);
        for range in acks.ranges {
            segment.acked.insert(range.start.min(records)..range.end.min(records));
        }
        if let Some(damage) = damage {
            self.report_damage(damage);
        }
    }
}
