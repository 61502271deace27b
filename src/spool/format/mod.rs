//! Encoding of segments and acknowledgements, as described in `docs/spool.md`.
//!
//! All integers are little-endian. All checksums are CRC-32C with the salt of the segment as the initial value, so the
//! payload of a record cannot contain a valid frame.

mod acks;
mod frame;
mod segment;

pub(crate) use acks::{ParsedAcks, encode_acks, parse_acks};
pub(crate) use frame::{
    FRAME_HEADER_BYTES, FRAME_MAGIC, FrameHeader, MAX_BODY_BYTES, SpooledRecord, frame_bytes,
};
pub(crate) use segment::{
    FORMAT_VERSION, Footer, Header, HeaderError, SEGMENT_FOOTER_BYTES, SEGMENT_HEADER_BYTES,
    max_records,
};

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
