use std::io::Write;

use base64_simd::STANDARD;

use super::Entry;

const RECORDS: &[u8] = b"{\"Records\":[";
const DATA: &[u8] = b"{\"Data\":\"";
const EXPLICIT_HASH_KEY: &[u8] = b"\",\"ExplicitHashKey\":\"";
const PARTITION_KEY: &[u8] = b"\",\"PartitionKey\":\"";
const ENTRY_END: &[u8] = b"\"}";

/// Inserts a member `Records` into `members`, a JSON object. Returns `None` if `members` has another format.
pub(super) fn with_entries(entries: &[Entry], members: &[u8]) -> Option<Vec<u8>> {
    let members = members.strip_prefix(b"{")?;
    let alone = members == b"}";
    if !alone && !members.starts_with(b"\"") {
        return None;
    }
    let commas = entries.len().saturating_sub(1) + usize::from(!alone);
    let entry_bytes: usize = entries.iter().map(size).sum();
    let mut body =
        Vec::with_capacity(RECORDS.len() + entry_bytes + commas + b"]".len() + members.len());
    body.extend_from_slice(RECORDS);
    for (index, entry) in entries.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        write(entry, &mut body);
    }
    body.push(b']');
    if !alone {
        body.push(b',');
    }
    body.extend_from_slice(members);
    Some(body)
}

fn write(entry: &Entry, body: &mut Vec<u8>) {
    body.extend_from_slice(DATA);
    STANDARD.encode_append(entry.data(), body);
    if let Some(key) = entry.explicit_hash_key() {
        body.extend_from_slice(EXPLICIT_HASH_KEY);
        write!(body, "{key}").expect("writing to a vector cannot fail");
    }
    if let Some(key) = entry.partition_key() {
        body.extend_from_slice(PARTITION_KEY);
        escape(key.as_bytes(), body);
    }
    body.extend_from_slice(ENTRY_END);
}

fn size(entry: &Entry) -> usize {
    let hash_key =
        entry.explicit_hash_key().map_or(0, |key| EXPLICIT_HASH_KEY.len() + key.digits());
    let partition_key =
        entry.partition_key().map_or(0, |key| PARTITION_KEY.len() + escaped_length(key.as_bytes()));
    let data = STANDARD.encoded_length(entry.data().len());
    DATA.len() + data + hash_key + partition_key + ENTRY_END.len()
}

fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

fn short_escape(byte: u8) -> Option<u8> {
    match byte {
        b'"' | b'\\' => Some(byte),
        0x08 => Some(b'b'),
        0x0c => Some(b'f'),
        b'\n' => Some(b'n'),
        b'\r' => Some(b'r'),
        b'\t' => Some(b't'),
        _ => None,
    }
}

// Checks all bytes instead of stopping at the first match, because the compiler can vectorize this loop and escapes are
// rare.
fn is_plain(text: &[u8]) -> bool {
    !text.iter().fold(false, |found, &byte| found | needs_escape(byte))
}

fn escaped_length(text: &[u8]) -> usize {
    if is_plain(text) {
        return text.len();
    }
    let length = |&byte: &u8| match short_escape(byte) {
        Some(_) => 2,
        None if needs_escape(byte) => 6,
        None => 1,
    };
    text.iter().map(length).sum()
}

fn escape(text: &[u8], body: &mut Vec<u8>) {
    if is_plain(text) {
        body.extend_from_slice(text);
        return;
    }
    for &byte in text {
        match short_escape(byte) {
            Some(letter) => body.extend_from_slice(&[b'\\', letter]),
            None if needs_escape(byte) => {
                write!(body, "\\u{byte:04x}").expect("writing to a vector cannot fail");
            }
            None => body.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::record::HashKey;

    fn entry(data: &'static [u8], key: Option<&str>, hash_key: Option<u128>) -> Entry {
        Entry::new(Bytes::from_static(data), key.map(Into::into), hash_key.map(HashKey::new))
    }

    fn body(entries: &[Entry], members: &str) -> String {
        let body = with_entries(entries, members.as_bytes()).unwrap();
        assert_eq!(body.capacity(), body.len(), "the computed size is exact");
        String::from_utf8(body).unwrap()
    }

    #[test]
    fn with_entries_inserts_records_first() {
        let entries =
            [entry(b"hello", Some("k"), None), entry(b"", None, Some(0)), entry(b"x", None, None)];
        let expected = concat!(
            r#"{"Records":[{"Data":"aGVsbG8=","PartitionKey":"k"},"#,
            r#"{"Data":"","ExplicitHashKey":"0"},{"Data":"eA=="}],"StreamName":"s"}"#,
        );
        assert_eq!(body(&entries, r#"{"StreamName":"s"}"#), expected);
        assert_eq!(body(&entries[2..], "{}"), r#"{"Records":[{"Data":"eA=="}]}"#);
        assert_eq!(body(&[], "{}"), r#"{"Records":[]}"#);
    }

    #[test]
    fn with_entries_escapes_keys() {
        let every_byte: String = (0..=0x7f).map(char::from).chain("é\u{2028}🦀".chars()).collect();
        let hash_keys = [0, 9, 10, u128::MAX / 2, u128::MAX];
        for hash_key in hash_keys {
            let entries = [entry(b"x", Some(&every_byte), Some(hash_key))];
            let body: serde_json::Value = serde_json::from_str(&body(&entries, "{}")).unwrap();
            assert_eq!(body["Records"][0]["PartitionKey"], *every_byte);
            assert_eq!(body["Records"][0]["ExplicitHashKey"], hash_key.to_string());
        }
    }

    #[test]
    fn with_entries_rejects_other_json() {
        for members in ["", "[]", "{ }", "\u{1}{}", "null"] {
            assert_eq!(with_entries(&[], members.as_bytes()), None, "{members}");
        }
    }
}
