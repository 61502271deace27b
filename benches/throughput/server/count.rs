//! How many entries a body has, without reading what is in them.

use memchr::memmem;

use super::Protocol;

/// None if it is not a body.
pub fn entries(protocol: Protocol, body: &[u8]) -> Option<usize> {
    match protocol {
        // No string can hold this: inside of one every quote is escaped.
        Protocol::Json => Some(memmem::find_iter(body, b"\"Data\":\"").count()),
        Protocol::Cbor => cbor_entries(body),
    }
}

/// Walks from item to item and steps over the strings, so that no payload is taken for a key. A partition
/// key of this name would be; there is none here.
fn cbor_entries(mut body: &[u8]) -> Option<usize> {
    const BYTES: u8 = 2;
    const TEXT: u8 = 3;
    const INDEFINITE: u8 = 31;
    let mut entries = 0;
    while let Some((head, rest)) = body.split_first() {
        let (major, info) = (head >> 5, head & 31);
        let follow = match info {
            24..=27 => 1 << (info - 24),
            0..24 | INDEFINITE => 0,
            _ => return None,
        };
        let (argument, rest) = rest.split_at_checked(follow)?;
        body = rest;
        if (major == BYTES || major == TEXT) && info != INDEFINITE {
            let of_more = argument.iter().fold(0, |value, byte| value << 8 | usize::from(*byte));
            let length = if follow == 0 { usize::from(info) } else { of_more };
            let (string, rest) = body.split_at_checked(length)?;
            body = rest;
            entries += usize::from(major == TEXT && string == b"Data");
        }
    }
    Some(entries)
}
