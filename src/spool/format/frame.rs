use bytes::Bytes;

use super::{u32_at, u64_at};
use crate::record::{HashKey, Key, PartitionKey, Record};

/// First bytes of a frame. They are not zero, because preallocated zeros mark the end of a segment.
pub(crate) const FRAME_MAGIC: [u8; 4] = *b"KSf1";

/// Length of the header of a frame.
pub(crate) const FRAME_HEADER_BYTES: usize = 36;

/// Maximum length of the hash key, the partition key, and the data of a frame together.
///
/// The service accepts records of up to 10 MiB. A longer frame is regarded as damaged.
pub(crate) const MAX_BODY_BYTES: usize = 16 << 20;

const HASH_KEY_BYTES: usize = 16;
const HAS_HASH_KEY: u8 = 1;

/// A record as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SpooledRecord {
    /// Record without a receipt.
    pub(crate) record: Record,
    /// Time at which the record was accepted, in milliseconds since the Unix epoch.
    pub(crate) accepted_at_ms: u64,
}

/// Kind of a partition key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KeyKind {
    Explicit = 1,
    Random = 2,
    ServiceManaged = 3,
}

/// Returns the length of the frame of a record.
pub(crate) fn frame_bytes(record: &Record) -> usize {
    let hash_key = record.explicit_hash_key().map_or(0, |_| HASH_KEY_BYTES);
    FRAME_HEADER_BYTES + hash_key + explicit_key(record).len() + record.data().len()
}

fn explicit_key(record: &Record) -> &str {
    if let PartitionKey::Explicit(key) = record.partition_key() { key.as_str() } else { "" }
}

impl SpooledRecord {
    /// Appends the frame of the record to `out`.
    pub(crate) fn encode(&self, salt: u32, seq: u64, out: &mut Vec<u8>) {
        let start = out.len();
        let key = explicit_key(&self.record);
        let kind = match self.record.partition_key() {
            PartitionKey::Explicit(_) => KeyKind::Explicit,
            PartitionKey::Random => KeyKind::Random,
            #[allow(unreachable_patterns, reason = "a fuzz target includes this file")]
            PartitionKey::ServiceManaged | _ => KeyKind::ServiceManaged,
        };
        let hash_key = self.record.explicit_hash_key();
        let key_bytes = u16::try_from(key.len()).expect("a key has at most 1,024 bytes");
        out.reserve(frame_bytes(&self.record));
        out.extend_from_slice(&[0; FRAME_HEADER_BYTES]);
        if let Some(hash_key) = hash_key {
            out.extend_from_slice(&hash_key.get().to_le_bytes());
        }
        out.extend_from_slice(key.as_bytes());
        out.extend_from_slice(self.record.data());
        let (header, body) = out[start..].split_at_mut(FRAME_HEADER_BYTES);
        let body_bytes = u32::try_from(body.len()).expect("the length was checked");
        header[..4].copy_from_slice(&FRAME_MAGIC);
        header[8..12].copy_from_slice(&crc32c::crc32c_append(salt, body).to_le_bytes());
        header[12..16].copy_from_slice(&body_bytes.to_le_bytes());
        header[16..24].copy_from_slice(&seq.to_le_bytes());
        header[24..32].copy_from_slice(&self.accepted_at_ms.to_le_bytes());
        header[32..34].copy_from_slice(&key_bytes.to_le_bytes());
        header[34] = kind as u8;
        header[35] = if hash_key.is_some() { HAS_HASH_KEY } else { 0 };
        let crc = crc32c::crc32c_append(salt, &header[8..]);
        header[4..8].copy_from_slice(&crc.to_le_bytes());
    }
}

/// Valid header of a frame.
///
/// The header has a checksum of its fields, so that the length and the sequence number of a frame are known even if its
/// body is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) seq: u64,
    pub(crate) accepted_at_ms: u64,
    body_crc: u32,
    body_bytes: u32,
    key_bytes: u16,
    kind: KeyKind,
    has_hash_key: bool,
}

impl FrameHeader {
    /// Parses the header at the start of `bytes`. Returns `None` if it is incomplete or invalid.
    pub(crate) fn parse(bytes: &[u8], salt: u32) -> Option<Self> {
        let header = bytes.get(..FRAME_HEADER_BYTES)?;
        if header[..4] != FRAME_MAGIC
            || u32_at(header, 4) != crc32c::crc32c_append(salt, &header[8..])
        {
            return None;
        }
        let kind = match header[34] {
            1 => KeyKind::Explicit,
            2 => KeyKind::Random,
            3 => KeyKind::ServiceManaged,
            _ => return None,
        };
        let parsed = Self {
            seq: u64_at(header, 16),
            accepted_at_ms: u64_at(header, 24),
            body_crc: u32_at(header, 8),
            body_bytes: u32_at(header, 12),
            key_bytes: u16::from_le_bytes([header[32], header[33]]),
            kind,
            has_hash_key: header[35] & HAS_HASH_KEY != 0,
        };
        let fields = parsed.hash_key_bytes() + usize::from(parsed.key_bytes);
        let body = parsed.body_bytes as usize;
        (fields <= body && body <= MAX_BODY_BYTES).then_some(parsed)
    }

    /// Returns the length of the frame.
    pub(crate) fn frame_bytes(&self) -> usize {
        FRAME_HEADER_BYTES + self.body_bytes as usize
    }

    /// Returns `true` if the checksum of the body is correct. `frame` has the length of the frame.
    pub(crate) fn verify(&self, frame: &[u8], salt: u32) -> bool {
        crc32c::crc32c_append(salt, &frame[FRAME_HEADER_BYTES..]) == self.body_crc
    }

    /// Decodes the record. Returns `None` if the body is invalid. `frame` has the length of the frame.
    ///
    /// The data is copied, so that a record that waits does not keep the memory of its neighbours.
    pub(crate) fn decode(&self, frame: &[u8], salt: u32) -> Option<SpooledRecord> {
        if !self.verify(frame, salt) {
            return None;
        }
        let body = &frame[FRAME_HEADER_BYTES..];
        let (hash_key, body) = body.split_at(self.hash_key_bytes());
        let (key, data) = body.split_at(usize::from(self.key_bytes));
        let key = match self.kind {
            KeyKind::Explicit => PartitionKey::Explicit(Key::from(std::str::from_utf8(key).ok()?)),
            KeyKind::Random => PartitionKey::Random,
            KeyKind::ServiceManaged => PartitionKey::ServiceManaged,
        };
        let mut record = Record::new(Bytes::copy_from_slice(data)).with_partition_key(key);
        if let Ok(hash_key) = hash_key.try_into() {
            record = record.with_explicit_hash_key(HashKey::new(u128::from_le_bytes(hash_key)));
        }
        Some(SpooledRecord { record, accepted_at_ms: self.accepted_at_ms })
    }

    fn hash_key_bytes(&self) -> usize {
        if self.has_hash_key { HASH_KEY_BYTES } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(record: Record) -> SpooledRecord {
        let record = SpooledRecord { record, accepted_at_ms: 1_760_000_000_123 };
        let mut bytes = b"before".to_vec();
        record.encode(7, 1 << 40, &mut bytes);
        let frame = &bytes[6..];
        assert_eq!(frame.len(), frame_bytes(&record.record));
        let header = FrameHeader::parse(frame, 7).expect("valid");
        assert_eq!((header.seq, header.frame_bytes()), (1 << 40, frame.len()));
        let decoded = header.decode(frame, 7).expect("valid");
        assert_eq!(decoded, record);
        decoded
    }

    #[test]
    fn record_survives_encoding() {
        round_trip(Record::new(""));
        round_trip(Record::new(vec![b'x'; 100_000]));
        round_trip(Record::from(("key", "data")));
        round_trip(Record::from(("é".repeat(256), "")).with_explicit_hash_key(u128::MAX));
        let decoded = round_trip(Record::new("a").with_partition_key(PartitionKey::ServiceManaged));
        assert_eq!(decoded.record.partition_key(), &PartitionKey::ServiceManaged);
    }

    #[test]
    fn frame_detects_every_flipped_bit() {
        let record = Record::from(("key", "some data")).with_explicit_hash_key(5_u128);
        let mut bytes = Vec::new();
        SpooledRecord { record, accepted_at_ms: 3 }.encode(9, 4, &mut bytes);
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            let header = FrameHeader::parse(&bytes, 9);
            assert_eq!(header.is_some(), bit >= FRAME_HEADER_BYTES * 8, "bit {bit}");
            assert!(header.is_none_or(|header| header.decode(&bytes, 9).is_none()), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        assert!(FrameHeader::parse(&bytes, 9).is_some());
        assert_eq!(FrameHeader::parse(&bytes, 8), None, "another salt");
    }

    #[test]
    fn debug_of_spooled_record_hides_payload() {
        let record = SpooledRecord {
            record: Record::from(("MARKER-key", "MARKER-data")),
            accepted_at_ms: 3,
        };
        assert!(!format!("{record:?}").contains("MARKER"));
    }
}
