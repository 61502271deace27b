//! Reading a segment from its header to its end.

use std::ops::Range;

use super::error::{Cause, LogError};
use super::window::{Found, Frames, Window};
use crate::spool::files::Files;
use crate::spool::format::{
    FORMAT_VERSION, FRAME_HEADER_BYTES, Footer, Header, HeaderError, SEGMENT_FOOTER_BYTES,
    SEGMENT_HEADER_BYTES,
};

/// Segments with larger sequence numbers are regarded as damaged, so that sequence numbers cannot overflow.
pub(crate) const MAX_SEQ: u64 = u64::MAX / 2;

/// Header and footer of a segment file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ends {
    /// The segment has a footer. The boolean is `true` if both copies of the header are intact.
    Sealed(Footer, bool),
    /// The segment has only a header.
    Unsealed(Header, bool),
    /// The segment has neither.
    Broken,
}

/// Reads header and footer of a segment.
///
/// # Errors
///
/// Returns an error if the header has an unknown version.
pub(crate) fn read_ends<F: Files>(
    files: &F,
    window: &mut Window,
    file: &F::File,
    name: &str,
    first: u64,
    size: u64,
) -> Result<Ends, LogError> {
    window.clear();
    let start = size.min(SEGMENT_HEADER_BYTES);
    let header = Header::parse(window.bytes(files, file, 0, start as usize, start));
    if let Err(HeaderError::Version(version)) = header {
        let path = files.path().join(name);
        return Err(LogError::Version { path, version, known: FORMAT_VERSION });
    }
    window.clear();
    let footer_at = size.saturating_sub(SEGMENT_FOOTER_BYTES);
    let footer = window.bytes(files, file, footer_at, SEGMENT_FOOTER_BYTES as usize, size);
    let footer = Footer::parse(footer, size).filter(|footer| footer.first == first);
    window.clear();
    if first > MAX_SEQ {
        return Ok(Ends::Broken);
    }
    Ok(match (header, footer) {
        (Ok((header, intact)), Some(footer)) if header.salt == footer.salt => {
            Ends::Sealed(footer, intact && header.first == first)
        }
        (Ok((header, intact)), _) if header.first == first => Ends::Unsealed(header, intact),
        (Err(_), Some(footer)) => Ends::Sealed(footer, false),
        _ => Ends::Broken,
    })
}

/// Invalid bytes between frames, or missing records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
    /// Missing sequence numbers.
    pub(crate) records: Range<u64>,
    pub(crate) cause: Cause,
}

/// Contents of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scanned {
    /// Sequence number after the last record.
    pub(crate) next: u64,
    /// Offset after the last valid frame.
    pub(crate) end: u64,
    pub(crate) oldest_accepted_at_ms: Option<u64>,
    pub(crate) gaps: Vec<Gap>,
    /// Number of bytes after the last valid frame, without zeros at the end.
    pub(crate) torn_bytes: u64,
    /// Whether bytes after the last valid frame cannot be read, so that they may contain records.
    pub(crate) has_unreadable_end: bool,
}

impl Scanned {
    /// Returns the damage of an end that cannot be read. The number of records in it is estimated.
    pub(crate) fn unreadable_end(&self, first: u64, size: u64) -> Option<Gap> {
        let bytes = size.saturating_sub(self.end);
        let mean = (self.end - SEGMENT_HEADER_BYTES) / (self.next - first).max(1);
        let records = (bytes / mean.max(FRAME_HEADER_BYTES as u64)).max(1);
        self.has_unreadable_end.then_some(Gap {
            offset: self.end,
            bytes,
            records: self.next..self.next + records,
            cause: Cause::Unreadable,
        })
    }
}

/// Reads all frames and checks their checksums.
///
/// Stops at a record whose sequence number is in the following segment, which starts with `following`: the sync of
/// such records failed, and they were written again.
pub(crate) fn scan<F: Files>(
    files: &F,
    window: &mut Window,
    file: &F::File,
    frames: Frames,
    following: u64,
) -> Scanned {
    let mut scanned = Scanned {
        next: frames.first,
        end: SEGMENT_HEADER_BYTES,
        oldest_accepted_at_ms: None,
        gaps: Vec::new(),
        torn_bytes: 0,
        has_unreadable_end: false,
    };
    let mut offset = SEGMENT_HEADER_BYTES;
    let mut unreadable = false;
    loop {
        match window.find(files, file, frames, offset, scanned.next) {
            Found::Header(header) if header.seq >= following => return scanned,
            Found::Header(header) => {
                let length = header.frame_bytes();
                let frame = window.bytes(files, file, offset, length, frames.end);
                let valid = header.decode(&frame[..length], frames.salt).is_some();
                unreadable |= window.has_unreadable();
                if valid {
                    if offset > scanned.end {
                        scanned.gaps.push(Gap {
                            offset: scanned.end,
                            bytes: offset - scanned.end,
                            records: scanned.next..header.seq,
                            cause: if unreadable { Cause::Unreadable } else { Cause::Frame },
                        });
                    }
                    unreadable = false;
                    scanned.end = offset + length as u64;
                    scanned.next = header.seq + 1;
                    let oldest = scanned.oldest_accepted_at_ms.unwrap_or(u64::MAX);
                    scanned.oldest_accepted_at_ms = Some(oldest.min(header.accepted_at_ms));
                }
                offset += length as u64;
            }
            Found::Invalid(next) => {
                unreadable |= window.has_unreadable();
                offset = next;
            }
            Found::End => break,
        }
    }
    let end = window.last_nonzero(files, file, scanned.end, frames.end);
    scanned.torn_bytes = end - scanned.end;
    scanned.has_unreadable_end = unreadable || window.has_unreadable();
    scanned
}
