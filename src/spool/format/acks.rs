use std::ops::Range;

use memchr::memmem;

use super::u32_at;

/// Maximum number of ranges in a frame.
const MAX_ACK_RANGES: usize = 1 << 16;

const ACK_MAGIC: [u8; 4] = *b"KSa1";
const HEADER_BYTES: usize = 12;
const RANGE_BYTES: usize = 8;

/// Appends frames with ranges of records to `out`. Records are numbered from 0 in each segment.
pub(crate) fn encode_acks(salt: u32, ranges: &[Range<u32>], out: &mut Vec<u8>) {
    for ranges in ranges.chunks(MAX_ACK_RANGES) {
        let start = out.len();
        out.extend_from_slice(&ACK_MAGIC);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&(ranges.len() as u32).to_le_bytes());
        for range in ranges {
            out.extend_from_slice(&range.start.to_le_bytes());
            out.extend_from_slice(&range.end.to_le_bytes());
        }
        let crc = crc32c::crc32c_append(salt, &out[start + 8..]);
        out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
    }
}

/// Acknowledgements in a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ParsedAcks {
    /// Acknowledged records, in the order in which they were written. Can overlap.
    pub(crate) ranges: Vec<Range<u32>>,
    /// Offset after the last valid frame.
    pub(crate) end: usize,
    /// First invalid bytes that are followed by a valid frame.
    pub(crate) damage: Option<Range<usize>>,
}

/// Parses the contents of an acknowledgement file, and skips invalid bytes.
pub(crate) fn parse_acks(bytes: &[u8], salt: u32) -> ParsedAcks {
    let mut acks = ParsedAcks::default();
    let mut at = 0;
    while at < bytes.len() {
        if let Some(length) = parse_frame(&bytes[at..], salt, &mut acks.ranges) {
            if at > acks.end && acks.damage.is_none() {
                acks.damage = Some(acks.end..at);
            }
            at += length;
            acks.end = at;
        } else {
            match memmem::find(&bytes[at + 1..], &ACK_MAGIC) {
                Some(distance) => at += 1 + distance,
                None => break,
            }
        }
    }
    acks
}

/// Parses the frame at the start of `bytes` and returns its length.
fn parse_frame(bytes: &[u8], salt: u32, ranges: &mut Vec<Range<u32>>) -> Option<usize> {
    if bytes.get(..HEADER_BYTES)?[..4] != ACK_MAGIC {
        return None;
    }
    let count = u32_at(bytes, 8) as usize;
    if count > MAX_ACK_RANGES {
        return None;
    }
    let length = HEADER_BYTES + count * RANGE_BYTES;
    let frame = bytes.get(..length)?;
    if u32_at(frame, 4) != crc32c::crc32c_append(salt, &frame[8..]) {
        return None;
    }
    for range in frame[HEADER_BYTES..].chunks_exact(RANGE_BYTES) {
        ranges.push(u32_at(range, 0)..u32_at(range, 4));
    }
    Some(length)
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "these are lists of ranges")]
mod tests {
    use super::*;

    fn encoded(frames: &[&[Range<u32>]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for ranges in frames {
            encode_acks(5, ranges, &mut bytes);
        }
        bytes
    }

    #[test]
    fn acks_survive_encoding() {
        let bytes = encoded(&[&[0..3, 5..9], &[3..5]]);
        let acks = parse_acks(&bytes, 5);
        assert_eq!(
            acks,
            ParsedAcks { ranges: vec![0..3, 5..9, 3..5], end: bytes.len(), damage: None }
        );
        assert_eq!(parse_acks(&bytes, 6), ParsedAcks::default(), "another salt");
        let many: Vec<_> = (0..100_000).map(|at| 2 * at..2 * at + 1).collect();
        assert_eq!(parse_acks(&encoded(&[&many]), 5).ranges, many);
    }

    #[test]
    fn torn_ack_frame_is_ignored() {
        let bytes = encoded(&[&[0..3], &[7..9]]);
        let first = encoded(&[&[0..3]]).len();
        for end in first..bytes.len() {
            let acks = parse_acks(&bytes[..end], 5);
            assert_eq!(acks, ParsedAcks { ranges: vec![0..3], end: first, damage: None });
        }
    }

    #[test]
    fn damaged_ack_frame_is_skipped() {
        let bytes = encoded(&[&[0..3], &[4..5], &[7..9]]);
        let frame = encoded(&[&[0..3]]).len();
        for bit in 8 * frame..16 * frame {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let acks = parse_acks(&damaged, 5);
            assert_eq!(acks.ranges, [0..3, 7..9], "bit {bit}");
            assert_eq!(acks.damage, Some(frame..2 * frame), "bit {bit}");
        }
    }
}
