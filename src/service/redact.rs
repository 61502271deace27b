//! Redaction of messages that are returned or logged: removes values of the request, and truncates long messages.

use memchr::memmem;

/// Maximum length of a code. The longest known code has 38 characters.
const MAX_CODE_CHARS: usize = 128;
const MAX_MESSAGE_CHARS: usize = 1024;
/// Maximum length of a cause in the message of a failed check.
const MAX_DETAIL_CHARS: usize = 200;

pub(super) fn code(code: String) -> String {
    sanitize(code, MAX_CODE_CHARS)
}

pub(super) fn error_chain(text: String) -> String {
    sanitize(text, MAX_MESSAGE_CHARS)
}

pub(super) fn detail(text: String) -> String {
    sanitize(redact_quotes(&text), MAX_DETAIL_CHARS)
}

pub(super) fn request_message(message: &str) -> String {
    sanitize(redact_quotes(message), MAX_MESSAGE_CHARS)
}

pub(super) fn entry_message(message: &str) -> String {
    sanitize(redact_values(message), MAX_MESSAGE_CHARS)
}

/// Truncates `text` to `max` characters and replaces control characters and line breaks with spaces, so that a server
/// cannot inject lines into a log.
fn sanitize(text: String, max: usize) -> String {
    // Non-ASCII control characters and line separators start with the bytes 0xc2 and 0xe2.
    let may_need_replacement = |byte: u8| byte.is_ascii_control() || matches!(byte, 0xc2 | 0xe2);
    if text.len() <= max && !text.bytes().any(may_need_replacement) {
        return text;
    }
    let is_control = |char: char| char.is_control() || matches!(char, '\u{2028}' | '\u{2029}');
    let visible = |char: char| if is_control(char) { ' ' } else { char };
    let mut sanitized: String = text.chars().take(max).map(visible).collect();
    if text.chars().nth(max).is_some() {
        sanitized.push('…');
    }
    sanitized
}

/// Removes quoted values and signed headers. If the service cannot verify a signature, its message ends with the string
/// to sign, which contains the session token, or with the header that contains the access key id.
fn redact_quotes(message: &str) -> String {
    const QUOTES: [&str; 3] = ["The Canonical String", "The String-to-Sign", "Authorization="];
    // Removes values first, because a value can contain these markers.
    let message = redact_values(message);
    let begin = |quote: &&str| memmem::find(message.as_bytes(), quote.as_bytes());
    match QUOTES.iter().filter_map(begin).min() {
        Some(begin) => message[..begin].to_owned() + "…",
        None => message,
    }
}

/// Removes values quoted from the request, such as partition keys or explicit hash keys. The service uses two formats:
/// `Value '..' at 'records.1.member.partitionKey' failed to satisfy constraint: ..` and
/// `Invalid ExplicitHashKey. [..] Specified value was ..`.
fn redact_values(message: &str) -> String {
    const BEGIN: &str = "Value '";
    const END: &str = "' at '";
    const LAST: &str = "Specified value was ";
    // Uses `memmem` for speed, because each throttled entry can have a message, usually without any marker.
    let find = |text: &str, marker: &str| {
        memmem::find(text.as_bytes(), marker.as_bytes()).map(|begin| begin + marker.len())
    };
    // Removes everything from the first start marker to the last end marker, because a value can contain markers.
    let begin = find(message, BEGIN);
    let ends =
        begin.and_then(|begin| Some((begin, message.rfind(END).filter(|end| begin <= *end)?)));
    let message = match ends {
        Some((begin, end)) => format!("{}…{}", &message[..begin], &message[end..]),
        None => message.to_owned(),
    };
    match find(&message, LAST) {
        Some(begin) => message[..begin].to_owned() + "…",
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::{PutRecordsError, PutRecordsErrorKind, attempt_error};

    #[test]
    fn redact_removes_quoted_values() {
        let message = "1 validation error detected: Value 'MARKER' at '' at 'records.1.member.\
                       partitionKey' failed to satisfy constraint: length less than 257";
        let error = PutRecordsError::service(Some("ValidationException"), Some(message), None);
        let shown = error.to_string();
        assert!(!shown.contains("MARKER") && shown.contains("partitionKey"), "{shown}");
        assert!(!format!("{error:?}").contains("MARKER"));
        for plain in ["Rate exceeded for shard 'x' at 'y'", "Value '", "", "' at 'Value '"] {
            assert_eq!(redact_quotes(plain), plain);
        }
        let hash_key = "Invalid ExplicitHashKey. Specified value was 271828";
        assert_eq!(redact_values(hash_key), "Invalid ExplicitHashKey. Specified value was …");
        // A value can contain the other markers.
        for mark in ["Specified value was ", "Authorization=", "The Canonical String"] {
            let quoting = format!("Value 'MARKER{mark}MARKER' at 'x' is too long");
            assert_eq!(request_message(&quoting), "Value '…' at 'x' is too long");
        }
        let both = "Value 'MARKER' at 'x'. Specified value was 1. Specified value was 2";
        assert_eq!(redact_values(both), "Value '…' at 'x'. Specified value was …");
    }

    #[test]
    fn sanitize_truncates_and_removes_line_breaks() {
        let throttled = "Rate exceeded for shard shardId-000000000000";
        assert_eq!(entry_message(throttled), throttled);
        assert_eq!(request_message("one\r\ntwo\u{1b}[31m\u{85}"), "one  two [31m ");
        assert_eq!(entry_message("a\u{85}£"), "a £");
        assert_eq!(entry_message("a\u{2028}b\u{2029}c€"), "a b c€");
        assert_eq!(code("A\0B".to_owned()), "A B");
        for max in [MAX_CODE_CHARS, MAX_MESSAGE_CHARS] {
            assert_eq!(sanitize("é".repeat(max), max), "é".repeat(max));
            assert_eq!(sanitize("é".repeat(max + 1), max), "é".repeat(max) + "…");
        }
        let refused = std::io::Error::other("é".repeat(5 << 20));
        let error = PutRecordsError::new(PutRecordsErrorKind::Response, Some(refused.into()));
        let error = error.with_request_id(Some(&"é".repeat(5 << 20)));
        assert!(attempt_error(&error).message().chars().count() <= MAX_MESSAGE_CHARS + 1);
        assert_eq!(error.request_id().unwrap().chars().count(), MAX_CODE_CHARS + 1);
        // The message is truncated after its values are removed.
        let value = format!("Value '{}' at 'x'", "MARKER".repeat(1_000));
        assert_eq!(request_message(&value), "Value '…' at 'x'");
    }

    #[test]
    fn redact_removes_signed_headers() {
        for (message, expected) in [
            ("No match.\n\nThe Canonical String for this request is\n'MARKER'", "No match.\n\n…"),
            ("No match. The String-to-Sign should have been\n'MARKER'", "No match. …"),
            ("No 'Signature'. Authorization=AWS4 Credential=MARKER", "No 'Signature'. …"),
            ("Value 'MARKER' at 'x'. Authorization=MARKER", "Value '…' at 'x'. …"),
        ] {
            assert_eq!(redact_quotes(message), expected);
        }
    }
}
