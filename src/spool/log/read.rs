//! Reading records in order.

use std::io;
use std::ops::Range;

use super::error::{Cause, Damage, LogEvent};
use super::segment::segment_name;
use super::window::{Found, Frames};
use super::{Log, SpooledRecord};
use crate::spool::files::Files;
use crate::spool::format::{FrameHeader, SEGMENT_HEADER_BYTES};

/// Position from which records are read.
#[derive(Debug, Clone)]
pub(crate) struct Cursor {
    /// Sequence number of the next record.
    seq: u64,
    /// Segment in which the position is known, and the offset of the first frame that was not read.
    segment_id: u64,
    offset: u64,
    /// Smallest possible sequence number at the offset.
    expected: u64,
}

impl Cursor {
    fn new(seq: u64) -> Self {
        // Identifiers of segments start at 1.
        Self { seq, segment_id: 0, offset: 0, expected: 0 }
    }

    /// Returns the sequence number from which the next read starts.
    pub(crate) fn seq(&self) -> u64 {
        self.seq
    }
}

/// Records that are returned by a read.
struct Batch {
    records: Vec<(u64, SpooledRecord)>,
    bytes: usize,
    max_records: usize,
    max_bytes: usize,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.records.len() >= self.max_records || self.bytes >= self.max_bytes
    }
}

impl<F: Files> Log<F> {
    /// Returns a cursor at the oldest unacknowledged record.
    pub(crate) fn cursor(&self) -> Cursor {
        Cursor::new(self.oldest_unacked().unwrap_or(self.next_seq))
    }

    /// Returns a cursor at the first unacknowledged record whose sequence number is `seq` or greater.
    pub(crate) fn cursor_at(&self, seq: u64) -> Cursor {
        Cursor::new(seq)
    }

    /// Reads unacknowledged records in the order of their sequence numbers.
    ///
    /// Stops after `max_records` records, or when their data and keys have `max_bytes` bytes or more. An empty result
    /// means that the cursor is at the end of the log, unless the cursor's sequence number is less than
    /// [`next_seq`](Self::next_seq): then a segment cannot be read now, which is reported as an event, and the read can be
    /// repeated later.
    ///
    /// Damaged records are skipped, reported as events, and regarded as acknowledged.
    pub(crate) fn read(
        &mut self,
        cursor: &mut Cursor,
        max_records: usize,
        max_bytes: usize,
    ) -> Vec<(u64, SpooledRecord)> {
        let mut batch = Batch { records: Vec::new(), bytes: 0, max_records, max_bytes };
        while !batch.is_full() {
            let Some((first, seq)) = self.next_unacked(cursor.seq) else {
                cursor.seq = self.next_seq.max(cursor.seq);
                break;
            };
            cursor.seq = seq;
            if self.moving.is_some_and(|moving| seq >= moving.synced_next) {
                if self.read_moving(first, cursor, &mut batch) {
                    continue;
                }
                break;
            }
            match self.open_reader(first) {
                Ok(()) => self.read_segment(first, cursor, &mut batch),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let segment = &self.segments[&first];
                    let (records, bytes) = (seq..segment.next, segment.end);
                    self.lose(first, 0, bytes, records, Cause::Missing);
                }
                Err(error) => {
                    let path = self.path(&segment_name(first));
                    self.push_event(LogEvent::ReadFailed { path, error });
                    break;
                }
            }
        }
        batch.records
    }

    /// Returns the first unacknowledged record whose sequence number is `seq` or greater, after its segment.
    fn next_unacked(&self, seq: u64) -> Option<(u64, u64)> {
        let start = self.segments.range(..=seq).next_back().map_or(0, |(first, _)| *first);
        self.segments
            .range(start..)
            .find_map(|(first, segment)| Some((*first, segment.first_unacked(seq)?)))
    }

    fn open_reader(&mut self, first: u64) -> io::Result<()> {
        let id = self.segments[&first].id;
        if self.reader.as_ref().is_none_or(|(open, _)| *open != id) {
            self.reader = None;
            self.window.clear();
            self.reader = Some((id, self.files.open_read_only(&segment_name(first))?));
        }
        Ok(())
    }

    /// Reads records of a segment until the batch is full or the segment ends.
    fn read_segment(&mut self, first: u64, cursor: &mut Cursor, batch: &mut Batch) {
        let Some((id, file)) = self.reader.take() else { return };
        if cursor.segment_id != id || cursor.expected > cursor.seq {
            cursor.segment_id = id;
            cursor.offset = SEGMENT_HEADER_BYTES;
            cursor.expected = first;
        }
        let segment = &self.segments[&first];
        let salt = segment.salt;
        // After a failed sync, the file may not contain the unsynced records. They are moved to another segment.
        let (next, end) = match self.moving {
            Some(moving) if moving.first == first => (moving.synced_next, moving.synced_end),
            _ => (segment.next, segment.end),
        };
        let frames = Frames { salt, first, end };
        // Start of the invalid bytes before the offset, whose records are known when the next frame is found.
        let mut invalid = None;
        let mut unreadable = false;
        while !batch.is_full() {
            let found =
                self.window.find(&self.files, &file, frames, cursor.offset, cursor.expected);
            let header = match found {
                Found::Header(header) if header.seq < next => Some(header),
                Found::Header(_) | Found::End => None,
                Found::Invalid(end) => {
                    unreadable |= self.window.has_unreadable();
                    invalid.get_or_insert(cursor.offset);
                    cursor.offset = end;
                    continue;
                }
            };
            let seq = header.map_or(next, |header| header.seq);
            // Sequence numbers of a segment are consecutive, so missing ones are lost.
            if seq > cursor.expected {
                let start = invalid.unwrap_or(cursor.offset);
                let cause = if unreadable { Cause::Unreadable } else { Cause::Frame };
                let lost = cursor.expected.max(cursor.seq)..seq;
                self.lose_bytes(first, &file, start..cursor.offset, lost, cause);
            }
            invalid = None;
            unreadable = false;
            cursor.expected = seq;
            let Some(header) = header else {
                cursor.seq = next;
                break;
            };
            let length = header.frame_bytes();
            let end = cursor.offset + length as u64;
            let segment = &self.segments[&first];
            if seq >= cursor.seq && segment.first_unacked(seq) == Some(seq) {
                let frame =
                    self.window.bytes(&self.files, &file, cursor.offset, length, frames.end);
                match header.decode(&frame[..length], salt) {
                    Some(record) => {
                        batch.bytes += record.record.size();
                        batch.records.push((seq, record));
                    }
                    None => {
                        let unreadable = self.window.has_unreadable();
                        let cause = if unreadable { Cause::Unreadable } else { Cause::Frame };
                        self.lose_bytes(first, &file, cursor.offset..end, seq..seq + 1, cause);
                    }
                }
            }
            cursor.seq = cursor.seq.max(seq + 1);
            cursor.expected = seq + 1;
            cursor.offset = end;
        }
        self.reader = Some((id, file));
    }

    /// Reads records whose sync failed from memory, because the file may not contain them anymore. Returns `false` if
    /// no record could be read.
    fn read_moving(&mut self, first: u64, cursor: &mut Cursor, batch: &mut Batch) -> bool {
        let segment = &self.segments[&first];
        let start = cursor.seq;
        let mut rest = &self.unsynced[..];
        while !batch.is_full()
            && let Some(header) = FrameHeader::parse(rest, segment.salt)
            && let Some((frame, after)) = rest.split_at_checked(header.frame_bytes())
        {
            if header.seq >= cursor.seq {
                if segment.first_unacked(header.seq) == Some(header.seq) {
                    // Invalid records are reported when they have been moved.
                    let Some(record) = header.decode(frame, segment.salt) else { break };
                    batch.bytes += record.record.size();
                    batch.records.push((header.seq, record));
                }
                cursor.seq = header.seq + 1;
            }
            rest = after;
        }
        cursor.seq > start
    }

    /// Reports lost records, and copies the damaged bytes.
    fn lose_bytes(
        &mut self,
        first: u64,
        file: &F::File,
        bytes: Range<u64>,
        records: Range<u64>,
        cause: Cause,
    ) {
        if self.unacked_in(first, &records) > 0 {
            self.set_aside(file, first, bytes.clone());
            self.lose(first, bytes.start, bytes.end - bytes.start, records, cause);
        }
    }

    /// Reports lost records and acknowledges them, so that they do not keep their segment.
    pub(super) fn lose(
        &mut self,
        first: u64,
        offset: u64,
        bytes: u64,
        records: Range<u64>,
        cause: Cause,
    ) {
        let lost = self.unacked_in(first, &records);
        let file = self.path(&segment_name(first));
        self.report_damage(Damage { file, offset, bytes, records: lost, cause });
        self.acknowledge(records);
    }

    fn unacked_in(&self, first: u64, records: &Range<u64>) -> u64 {
        let segment = &self.segments[&first];
        let range = segment.number(records.start)..segment.number(records.end);
        u64::from(segment.acked.missing_in(range))
    }
}
