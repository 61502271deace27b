//! What may be passed on of a service's words.

use memchr::memmem;

/// The most characters that are kept of a code. The longest known one has 38.
const CODE_CHARS: usize = 128;
/// The most characters that are kept of a message.
const MESSAGE_CHARS: usize = 1024;
/// The most characters of a cause within a sentence.
const DETAIL_CHARS: usize = 200;

/// An error's code, as it may be passed on.
pub(super) fn code(code: String) -> String {
    sanitize(code, CODE_CHARS)
}

/// What an error and its sources say, as it may be passed on.
pub(super) fn error_chain(text: String) -> String {
    sanitize(text, MESSAGE_CHARS)
}

/// The cause of a failed check, as part of a sentence.
pub(super) fn detail(text: String) -> String {
    sanitize(redact_quotes(&text), DETAIL_CHARS)
}

/// The message of an error of a whole request, as it may be passed on.
pub(super) fn request_message(message: &str) -> String {
    sanitize(redact_quotes(message), MESSAGE_CHARS)
}

/// The message of an entry's error, as it may be passed on.
pub(super) fn entry_message(message: &str) -> String {
    sanitize(redact_values(message), MESSAGE_CHARS)
}

/// No line breaks, with which a server could write lines of its own into a log, and no more than so many
/// characters.
fn sanitize(text: String, most: usize) -> String {
    // With these bytes begin the control characters beyond ASCII, and the two that break a line, among others.
    let suspicious = |byte: u8| byte.is_ascii_control() || matches!(byte, 0xc2 | 0xe2);
    if text.len() <= most && !text.bytes().any(suspicious) {
        return text;
    }
    let breaks = |char: char| char.is_control() || matches!(char, '\u{2028}' | '\u{2029}');
    let visible = |char: char| if breaks(char) { ' ' } else { char };
    let mut kept: String = text.chars().take(most).map(visible).collect();
    if text.chars().nth(most).is_some() {
        kept.push('…');
    }
    kept
}

/// A message without what it quotes from the request: values, and what was signed.
///
/// A service that cannot verify a signature quotes the string that should have been signed, with all
/// headers and so with the session token, or the header with the access key id. It does so at the end.
fn redact_quotes(message: &str) -> String {
    const QUOTES: [&str; 3] = ["The Canonical String", "The String-to-Sign", "Authorization="];
    // First the values, which may hold these marks.
    let message = redact_values(message);
    let begin = |quote: &&str| memmem::find(message.as_bytes(), quote.as_bytes());
    match QUOTES.iter().filter_map(begin).min() {
        Some(begin) => message[..begin].to_owned() + "…",
        None => message,
    }
}

/// A message without the values that it quotes from the request, which can be partition keys or explicit
/// hash keys: `Value '..' at 'records.1.member.partitionKey' failed to satisfy constraint: ..`,
/// `Invalid ExplicitHashKey. [..] Specified value was ..`.
fn redact_values(message: &str) -> String {
    const BEGIN: &str = "Value '";
    const END: &str = "' at '";
    const LAST: &str = "Specified value was ";
    // The fast search: most messages are those of throttles, one for each entry, without any of the marks.
    let find = |text: &str, mark: &str| {
        memmem::find(text.as_bytes(), mark.as_bytes()).map(|begin| begin + mark.len())
    };
    // From the first beginning to the last end: a value may hold the marks itself.
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
    fn quoted_values_are_left_out_of_messages() {
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
        // A value may hold the other marks as well.
        for mark in ["Specified value was ", "Authorization=", "The Canonical String"] {
            let quoting = format!("Value 'MARKER{mark}MARKER' at 'x' is too long");
            assert_eq!(request_message(&quoting), "Value '…' at 'x' is too long");
        }
        let both = "Value 'MARKER' at 'x'. Specified value was 1. Specified value was 2";
        assert_eq!(redact_values(both), "Value '…' at 'x'. Specified value was …");
    }

    #[test]
    fn words_stay_in_one_line_and_short() {
        let throttled = "Rate exceeded for shard shardId-000000000000";
        assert_eq!(entry_message(throttled), throttled);
        assert_eq!(request_message("one\r\ntwo\u{1b}[31m\u{85}"), "one  two [31m ");
        assert_eq!(entry_message("a\u{85}£"), "a £");
        assert_eq!(entry_message("a\u{2028}b\u{2029}c€"), "a b c€");
        assert_eq!(code("A\0B".to_owned()), "A B");
        for most in [CODE_CHARS, MESSAGE_CHARS] {
            assert_eq!(sanitize("é".repeat(most), most), "é".repeat(most));
            assert_eq!(sanitize("é".repeat(most + 1), most), "é".repeat(most) + "…");
        }
        let refused = std::io::Error::other("é".repeat(5 << 20));
        let error = PutRecordsError::new(PutRecordsErrorKind::Response, Some(refused.into()));
        let error = error.with_request_id(Some(&"é".repeat(5 << 20)));
        assert!(attempt_error(&error).message().chars().count() <= MESSAGE_CHARS + 1);
        assert_eq!(error.request_id().unwrap().chars().count(), CODE_CHARS + 1);
        // Cut only after what is quoted was found.
        let value = format!("Value '{}' at 'x'", "MARKER".repeat(1_000));
        assert_eq!(request_message(&value), "Value '…' at 'x'");
    }

    #[test]
    fn what_was_signed_is_left_out_of_messages() {
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
