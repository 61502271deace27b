use memchr::memmem;

use super::Protocol;

/// Returns the number of entries in a request body, or `None` if the body is invalid.
pub fn entries(protocol: Protocol, body: &[u8]) -> Option<usize> {
    match protocol {
        // This text cannot occur within a JSON string, because quotes are escaped there.
        Protocol::Json => Some(memmem::find_iter(body, b"\"Data\":\"").count()),
        Protocol::Cbor => cbor_entries(body),
    }
}

/// Counts the entries without searching the payloads. A partition key `Data` would count too, but none is sent.
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
