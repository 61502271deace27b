use super::{u32_at, u64_at};

/// Version of the format that this crate reads and writes.
pub(crate) const FORMAT_VERSION: u32 = 1;

/// Length of the header of a segment: two equal copies.
pub(crate) const SEGMENT_HEADER_BYTES: u64 = 2 * COPY_BYTES as u64;

/// Length of the footer of a sealed segment.
pub(crate) const SEGMENT_FOOTER_BYTES: u64 = 64;

const HEADER_MAGIC: [u8; 8] = *b"KSspool\n";
const FOOTER_MAGIC: [u8; 8] = *b"KSsealed";
const COPY_BYTES: usize = 32;

/// Header of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// Random initial value of the checksums in the segment.
    pub(crate) salt: u32,
    /// Sequence number of the first record.
    pub(crate) first: u64,
}

/// Reason why a segment has no usable header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderError {
    /// No copy is valid.
    Invalid,
    /// The header is intact but has another version.
    Version(u32),
}

impl Header {
    /// Encodes two copies, because the rest of the segment cannot be read without its salt.
    pub(crate) fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES as usize] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES as usize];
        let (copy, second) = bytes.split_at_mut(COPY_BYTES);
        copy[..8].copy_from_slice(&HEADER_MAGIC);
        copy[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        copy[12..16].copy_from_slice(&self.salt.to_le_bytes());
        copy[16..24].copy_from_slice(&self.first.to_le_bytes());
        let crc = crc32c::crc32c(&copy[..28]);
        copy[28..].copy_from_slice(&crc.to_le_bytes());
        second.copy_from_slice(copy);
        bytes
    }

    /// Parses the first valid copy. The boolean is `true` if both copies are valid and equal.
    pub(crate) fn parse(bytes: &[u8]) -> Result<(Self, bool), HeaderError> {
        let mut error = HeaderError::Invalid;
        for copy in bytes.chunks_exact(COPY_BYTES).take(2) {
            if copy[..8] != HEADER_MAGIC || u32_at(copy, 28) != crc32c::crc32c(&copy[..28]) {
                continue;
            }
            let version = u32_at(copy, 8);
            if version == FORMAT_VERSION {
                let header = Self { salt: u32_at(copy, 12), first: u64_at(copy, 16) };
                let intact = bytes.starts_with(&header.encode());
                return Ok((header, intact));
            }
            error = HeaderError::Version(version);
        }
        Err(error)
    }
}

/// Footer of a sealed segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Footer {
    /// Salt of the segment, as in its header.
    pub(crate) salt: u32,
    /// Sequence number of the first record, as in the header.
    pub(crate) first: u64,
    /// Sequence number after the last record.
    pub(crate) next: u64,
    /// Offset after the last frame, at which the footer starts.
    pub(crate) end: u64,
    /// Time at which the oldest record was accepted, in milliseconds since the Unix epoch.
    pub(crate) oldest_accepted_at_ms: u64,
}

impl Footer {
    pub(crate) fn encode(&self) -> [u8; SEGMENT_FOOTER_BYTES as usize] {
        let mut bytes = [0; SEGMENT_FOOTER_BYTES as usize];
        bytes[..8].copy_from_slice(&FOOTER_MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.salt.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.next.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.end.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.oldest_accepted_at_ms.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Parses the last bytes of a file of `size` bytes. Returns `None` if they are no footer.
    pub(crate) fn parse(bytes: &[u8], size: u64) -> Option<Self> {
        if bytes.len() as u64 != SEGMENT_FOOTER_BYTES
            || bytes[..8] != FOOTER_MAGIC
            || u32_at(bytes, 60) != crc32c::crc32c(&bytes[..60])
            || u32_at(bytes, 8) != FORMAT_VERSION
        {
            return None;
        }
        let footer = Self {
            salt: u32_at(bytes, 12),
            first: u64_at(bytes, 16),
            next: u64_at(bytes, 24),
            end: u64_at(bytes, 32),
            oldest_accepted_at_ms: u64_at(bytes, 40),
        };
        let consistent = footer.end.checked_add(SEGMENT_FOOTER_BYTES) == Some(size)
            && footer.end >= SEGMENT_HEADER_BYTES
            && footer.first <= footer.next
            && footer.next - footer.first <= max_records(footer.end);
        consistent.then_some(footer)
    }
}

/// Returns the number of records that fit into a segment whose last frame ends before `end`.
pub(crate) fn max_records(end: u64) -> u64 {
    end.saturating_sub(SEGMENT_HEADER_BYTES) / super::FRAME_HEADER_BYTES as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header = Header { salt: 0x1234_5678, first: 1 << 50 };

    #[test]
    fn header_survives_damage_of_one_copy() {
        let bytes = HEADER.encode();
        assert_eq!(Header::parse(&bytes), Ok((HEADER, true)));
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::parse(&damaged), Ok((HEADER, false)), "bit {bit}");
            damaged[(bit / 8 + COPY_BYTES) % bytes.len()] ^= 1;
            assert_eq!(Header::parse(&damaged), Err(HeaderError::Invalid), "bit {bit}");
        }
        assert_eq!(Header::parse(&bytes[..31]), Err(HeaderError::Invalid));
    }

    #[test]
    fn header_reports_unknown_version() {
        let mut bytes = HEADER.encode();
        bytes[8] = 2;
        let crc = crc32c::crc32c(&bytes[..28]);
        bytes[28..32].copy_from_slice(&crc.to_le_bytes());
        bytes[32] = 0;
        assert_eq!(Header::parse(&bytes), Err(HeaderError::Version(2)));
    }

    #[test]
    fn footer_detects_every_flipped_bit() {
        let footer = Footer {
            salt: 3,
            first: 10,
            next: 12,
            end: 1_000,
            oldest_accepted_at_ms: 1_760_000_000_000,
        };
        let bytes = footer.encode();
        assert_eq!(Footer::parse(&bytes, 1_064), Some(footer));
        assert_eq!(Footer::parse(&bytes, 1_065), None);
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Footer::parse(&damaged, 1_064), None, "bit {bit}");
        }
    }
}
