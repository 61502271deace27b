//! What may be passed on of a service's messages.

use memchr::memmem;

/// A message without what it quotes from the request: values, and what was signed.
///
/// A service that cannot verify a signature quotes the string that should have been signed, with all
/// headers and so with the session token, or the header with the access key id. It does so at the end.
pub(super) fn without_quotes(message: &str) -> String {
    const QUOTES: [&str; 3] = ["The Canonical String", "The String-to-Sign", "Authorization="];
    let begin = |quote: &&str| memmem::find(message.as_bytes(), quote.as_bytes());
    match QUOTES.iter().filter_map(begin).min() {
        Some(begin) => without_values(&message[..begin]) + "…",
        None => without_values(message),
    }
}

/// A message without the values that it quotes from the request, which can be partition keys or explicit
/// hash keys: `Value '..' at 'records.1.member.partitionKey' failed to satisfy constraint: ..`,
/// `Invalid ExplicitHashKey. [..] Specified value was ..`.
pub(super) fn without_values(message: &str) -> String {
    const BEGIN: &str = "Value '";
    const END: &str = "' at '";
    const LAST: &str = "Specified value was ";
    // What throttles say is said of many entries, and quotes nothing.
    let find = |mark: &str| memmem::find(message.as_bytes(), mark.as_bytes());
    if let Some(begin) = find(LAST) {
        return without_values(&message[..begin]) + LAST + "…";
    }
    let Some(begin) = find(BEGIN) else { return message.to_owned() };
    // From the first beginning to the last end: a value may hold the marks itself.
    match message.rfind(END) {
        Some(end) if begin + BEGIN.len() <= end => {
            format!("{}…{}", &message[..begin + BEGIN.len()], &message[end..])
        }
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::PutRecordsError;

    #[test]
    fn quoted_values_are_left_out_of_messages() {
        let message = "1 validation error detected: Value 'MARKER' at '' at 'records.1.member.\
                       partitionKey' failed to satisfy constraint: length less than 257";
        let error = PutRecordsError::service(Some("ValidationException"), Some(message), None);
        let shown = error.to_string();
        assert!(!shown.contains("MARKER") && shown.contains("partitionKey"), "{shown}");
        assert!(!format!("{error:?}").contains("MARKER"));
        for plain in ["Rate exceeded for shard 'x' at 'y'", "Value '", "", "' at 'Value '"] {
            assert_eq!(without_quotes(plain), plain);
        }
        let hash_key = "Invalid ExplicitHashKey. Specified value was 271828";
        assert_eq!(without_values(hash_key), "Invalid ExplicitHashKey. Specified value was …");
        let both = "Value 'MARKER' at 'x'. Specified value was 1. Specified value was 2";
        assert_eq!(without_values(both), "Value '…' at 'x'. Specified value was …");
    }

    #[test]
    fn what_was_signed_is_left_out_of_messages() {
        for (message, expected) in [
            ("No match.\n\nThe Canonical String for this request is\n'MARKER'", "No match.\n\n…"),
            ("No match. The String-to-Sign should have been\n'MARKER'", "No match. …"),
            ("No 'Signature'. Authorization=AWS4 Credential=MARKER", "No 'Signature'. …"),
            ("Value 'MARKER' at 'x'. Authorization=MARKER", "Value '…' at 'x'. …"),
        ] {
            assert_eq!(without_quotes(message), expected);
        }
    }
}
