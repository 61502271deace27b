use memchr::memmem;

use super::Protocol;

/// Returns the number of entries, or `None` if the body is invalid.
pub fn entries(protocol: Protocol, body: &[u8]) -> Option<usize> {
    match protocol {
        // This cannot occur in a string, in which quotes are escaped.
        Protocol::Json => Some(memmem::find_iter(body, b"\"Data\":\"").count()),
        Protocol::Cbor => cbor_entries(body),
    }
}

/// Skips strings, so that payloads are not searched. A partition key `Data` would be counted, but none is sent.
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
            let following = argument.iter().fold(0, |value, byte| value << 8 | usize::from(*byte));
            let length = if follow == 0 { usize::from(info) } else { following };
            let (string, rest) = body.split_at_checked(length)?;
            body = rest;
            entries += usize::from(major == TEXT && string == b"Data");
        }
    }
    Some(entries)
}
