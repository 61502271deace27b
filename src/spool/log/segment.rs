use std::ops::Range;

use super::ranges::RangeSet;
use crate::spool::format::{Footer, Header, SEGMENT_HEADER_BYTES};

/// Suffix of a segment.
pub(crate) const SEGMENT_SUFFIX: &str = ".seg";

/// Suffix of the acknowledgements of a segment.
pub(crate) const ACK_SUFFIX: &str = ".ack";

/// Suffix of a file that is not complete yet.
pub(crate) const TEMPORARY: &str = ".tmp";

/// Returns the name of the segment whose first record has the sequence number `first`.
pub(crate) fn segment_name(first: u64) -> String {
    format!("{first:020}{SEGMENT_SUFFIX}")
}

/// Returns the name of the acknowledgement file of a segment.
pub(crate) fn ack_name(first: u64) -> String {
    format!("{first:020}{ACK_SUFFIX}")
}

/// Returns the sequence number in the name of a file, if it is a file of a spool with this suffix.
pub(crate) fn parse_name(name: &str, suffix: &str) -> Option<u64> {
    let digits = name.strip_suffix(suffix)?;
    if digits.len() != 20 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

/// Index entry of a segment.
#[derive(Debug)]
pub(crate) struct Segment {
    /// Identifies the contents of the file, which is replaced if its first sync fails.
    pub(crate) id: u64,
    pub(crate) salt: u32,
    pub(crate) first: u64,
    /// Sequence number after the last record.
    pub(crate) next: u64,
    /// Offset after the last frame.
    pub(crate) end: u64,
    /// Size on disk, including reserved space.
    pub(crate) file_bytes: u64,
    pub(crate) oldest_accepted_at_ms: Option<u64>,
    /// Whether nothing may be appended to the file, because a write failed or the log was opened again.
    pub(crate) failed: bool,
    /// Whether the file has a footer.
    pub(crate) sealed: bool,
    pub(crate) acked: RangeSet,
    /// Acknowledgements that are not in the file.
    pub(crate) pending: Vec<Range<u32>>,
    /// Offset after the last frame in the acknowledgement file.
    pub(crate) ack_end: u64,
    /// Whether the contents of the acknowledgement file are unknown, so that all acknowledgements are written again.
    pub(crate) rewrites_acks: bool,
}

impl Segment {
    pub(crate) fn new(id: u64, header: Header) -> Self {
        Self {
            id,
            salt: header.salt,
            first: header.first,
            next: header.first,
            end: SEGMENT_HEADER_BYTES,
            file_bytes: SEGMENT_HEADER_BYTES,
            oldest_accepted_at_ms: None,
            failed: false,
            sealed: false,
            acked: RangeSet::default(),
            pending: Vec::new(),
            ack_end: 0,
            rewrites_acks: false,
        }
    }

    pub(crate) fn header(&self) -> Header {
        Header { salt: self.salt, first: self.first }
    }

    pub(crate) fn footer(&self) -> Footer {
        Footer {
            salt: self.salt,
            first: self.first,
            next: self.next,
            end: self.end,
            oldest_accepted_at_ms: self.oldest_accepted_at_ms.unwrap_or(0),
        }
    }

    pub(crate) fn name(&self) -> String {
        segment_name(self.first)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first == self.next
    }

    /// Returns the number of unacknowledged records.
    pub(crate) fn unacked(&self) -> u64 {
        self.next - self.first - u64::from(self.acked.len())
    }

    /// Returns the estimated size of the unacknowledged records.
    pub(crate) fn unacked_bytes(&self) -> u64 {
        let records = u128::from((self.next - self.first).max(1));
        let bytes = u128::from(self.end - SEGMENT_HEADER_BYTES);
        u64::try_from(bytes * u128::from(self.unacked()) / records).expect("less than the size")
    }

    /// Returns the first unacknowledged record whose sequence number is `from` or greater.
    pub(crate) fn first_unacked(&self, from: u64) -> Option<u64> {
        let seq = self.first + u64::from(self.acked.first_missing(self.number(from)));
        (seq < self.next).then_some(seq)
    }

    /// Returns the number of a record in the segment. Sequence numbers outside of the segment are clamped.
    pub(crate) fn number(&self, seq: u64) -> u32 {
        u32::try_from(seq.clamp(self.first, self.next) - self.first).expect("segments are small")
    }

    /// Acknowledges the records of the segment that are in the range, and returns how many of them are new.
    pub(crate) fn acknowledge(&mut self, records: Range<u64>) -> u32 {
        let range = self.number(records.start)..self.number(records.end);
        let added = self.acked.insert(range.clone());
        if added > 0 {
            match self.pending.last_mut() {
                Some(last) if last.end == range.start => last.end = range.end,
                _ => self.pending.push(range),
            }
        }
        added
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_of_segment_is_parsed() {
        assert_eq!(segment_name(42), "00000000000000000042.seg");
        assert_eq!(parse_name(&segment_name(42), ".seg"), Some(42));
        assert_eq!(parse_name(&ack_name(42), ".seg"), None);
        for name in ["42.seg", "+0000000000000000042.seg", "99999999999999999999.seg", ".seg"] {
            assert_eq!(parse_name(name, ".seg"), None, "{name}");
        }
    }

    #[test]
    fn index_entry_of_segment_is_small() {
        assert!(size_of::<Segment>() <= 176, "{}", size_of::<Segment>());
    }
}
