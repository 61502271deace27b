//! PutRecords bodies in Kinesis CBOR. Arrays and maps have indefinite lengths, like those of the SDK's codec.

use std::io::Write;

use super::Entry;

/// Major types of RFC 8949, as bits of the first byte of an item.
pub(super) const BYTES: u8 = 2 << 5;
pub(super) const TEXT: u8 = 3 << 5;

pub(super) const BEGIN_ARRAY: u8 = 0x9f;
pub(super) const BEGIN_MAP: u8 = 0xbf;
pub(super) const END: u8 = 0xff;

const RECORDS: &[u8] = b"\x67Records";
const DATA: &[u8] = b"\x64Data";
const EXPLICIT_HASH_KEY: &[u8] = b"\x6fExplicitHashKey";
const PARTITION_KEY: &[u8] = b"\x6cPartitionKey";

/// Inserts a member `Records` into `members`. Returns `None` if `members` is not a map of indefinite length.
pub(super) fn with_entries(entries: &[Entry], members: &[u8]) -> Option<Vec<u8>> {
    let members = members.strip_prefix(&[BEGIN_MAP])?;
    if members.last() != Some(&END) {
        return None;
    }
    let entry_bytes: usize = entries.iter().map(size).sum();
    let mut body = Vec::with_capacity(3 + RECORDS.len() + entry_bytes + members.len());
    body.push(BEGIN_MAP);
    body.extend_from_slice(RECORDS);
    body.push(BEGIN_ARRAY);
    for entry in entries {
        write(entry, &mut body);
    }
    body.push(END);
    body.extend_from_slice(members);
    Some(body)
}

fn write(entry: &Entry, body: &mut Vec<u8>) {
    body.push(BEGIN_MAP);
    body.extend_from_slice(DATA);
    string(BYTES, entry.data(), body);
    if let Some(key) = entry.explicit_hash_key() {
        body.extend_from_slice(EXPLICIT_HASH_KEY);
        head(TEXT, key.digits() as u64, body);
        write!(body, "{key}").expect("writing to a vector cannot fail");
    }
    if let Some(key) = entry.partition_key() {
        body.extend_from_slice(PARTITION_KEY);
        string(TEXT, key.as_bytes(), body);
    }
    body.push(END);
}

fn size(entry: &Entry) -> usize {
    let string = |length: usize| head_size(length as u64) + length;
    let hash_key =
        entry.explicit_hash_key().map(|key| EXPLICIT_HASH_KEY.len() + string(key.digits()));
    let partition_key = entry.partition_key().map(|key| PARTITION_KEY.len() + string(key.len()));
    let keys = hash_key.unwrap_or(0) + partition_key.unwrap_or(0);
    2 + DATA.len() + string(entry.data().len()) + keys
}

pub(super) fn string(major: u8, content: &[u8], body: &mut Vec<u8>) {
    head(major, content.len() as u64, body);
    body.extend_from_slice(content);
}

/// Appends the head of an item in its shortest form.
pub(super) fn head(major: u8, number: u64, body: &mut Vec<u8>) {
    let bytes = number.to_be_bytes();
    match head_size(number) {
        1 => body.push(major | bytes[7]),
        2 => body.extend_from_slice(&[major | 24, bytes[7]]),
        3 => body.extend_from_slice(&[major | 25, bytes[6], bytes[7]]),
        5 => body.extend_from_slice(&[major | 26, bytes[4], bytes[5], bytes[6], bytes[7]]),
        _ => {
            body.push(major | 27);
            body.extend_from_slice(&bytes);
        }
    }
}

const fn head_size(number: u64) -> usize {
    match number {
        0..=23 => 1,
        24..=0xff => 2,
        0x100..=0xffff => 3,
        0x1_0000..=0xffff_ffff => 5,
        _ => 9,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::record::HashKey;

    #[test]
    fn with_entries_inserts_records_first() {
        let key = Some("k".into());
        let entries = [
            Entry::new(Bytes::from_static(b"hi"), key, None),
            Entry::new(Bytes::new(), None, Some(HashKey::new(10))),
        ];
        let body = with_entries(&entries, b"\xbf\x6aStreamName\x61s\xff").unwrap();
        let expected = [
            b"\xbf\x67Records\x9f\xbf\x64Data\x42hi\x6cPartitionKey\x61k\xff".as_slice(),
            b"\xbf\x64Data\x40\x6fExplicitHashKey\x6210\xff\xff\x6aStreamName\x61s\xff",
        ];
        assert_eq!(body, expected.concat());
    }

    #[test]
    fn with_entries_computes_exact_size() {
        for length in [0, 23, 24, 255, 256, 65_535, 65_536] {
            let key = "k".repeat(length % 300);
            for hash_key in [0, 9, 10, u128::MAX] {
                let data = vec![0; length].into();
                let key = Some(key.as_str().into());
                let entries = [Entry::new(data, key, Some(HashKey::new(hash_key)))];
                let body = with_entries(&entries, b"\xbf\xff").unwrap();
                assert_eq!(body.capacity(), body.len());
            }
        }
    }

    #[test]
    fn head_writes_shortest_form() {
        let written = |number| {
            let mut body = Vec::new();
            head(TEXT, number, &mut body);
            body
        };
        assert_eq!(written(23), [0x77]);
        assert_eq!(written(0xff), [0x78, 0xff]);
        assert_eq!(written(0x1234), [0x79, 0x12, 0x34]);
        assert_eq!(written(0x1234_5678), [0x7a, 0x12, 0x34, 0x56, 0x78]);
        assert_eq!(written(1 << 32), [0x7b, 0, 0, 0, 1, 0, 0, 0, 0]);
    }

    #[test]
    fn with_entries_rejects_other_cbor() {
        for members in [b"".as_slice(), b"\xbf", b"\xa0", b"{}", b"\x9f\xff", b"\xbf\x61k\x01"] {
            assert_eq!(with_entries(&[], members), None, "{members:x?}");
        }
    }
}
