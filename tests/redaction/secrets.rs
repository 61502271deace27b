//! Secrets, and assertions that text does not contain them.

use std::error::Error;
use std::fmt::{Debug, Display};
use std::sync::LazyLock;

use kinesis_sink::Record;

pub const PAYLOAD: &str = "MARKED-payload-of-a-record";
pub const KEY: &str = "MARKED-partition-key";
/// A hash key with as many digits as the largest one.
pub const HASH_KEY: u128 = 271_828_182_845_904_523_536_028_747_135_266_249_775;
pub const ACCESS_KEY_ID: &str = "AKIAMARKEDACCESSKEY";
pub const SECRET: &str = "MARKED-secret-access-key";
pub const TOKEN: &str = "MARKED-session-token-of-a-role";

pub fn record() -> Record {
    Record::from((KEY, PAYLOAD)).with_explicit_hash_key(HASH_KEY)
}

/// Returns the secrets that `text` contains in one of the usual encodings.
pub fn found_in(text: &str) -> Vec<&'static str> {
    static SECRETS: LazyLock<[(&str, Vec<String>); 6]> = LazyLock::new(|| {
        let mut hash_key = encodings(&HASH_KEY.to_be_bytes());
        hash_key.push(HASH_KEY.to_string());
        [
            ("a payload", encodings(PAYLOAD.as_bytes())),
            ("a partition key", encodings(KEY.as_bytes())),
            ("a hash key", hash_key),
            ("an access key id", encodings(ACCESS_KEY_ID.as_bytes())),
            ("a secret access key", encodings(SECRET.as_bytes())),
            ("a session token", encodings(TOKEN.as_bytes())),
        ]
    });
    let shows = |encodings: &[String]| encodings.iter().any(|encoding| text.contains(encoding));
    SECRETS.iter().filter(|(_, encodings)| shows(encodings)).map(|(name, _)| *name).collect()
}

/// Returns `secret` as text, in the `Debug` format of bytes, in hexadecimal, and in base64 at all three alignments.
fn encodings(secret: &[u8]) -> Vec<String> {
    let bytes: Vec<_> = secret.iter().map(u8::to_string).collect();
    let hex: Vec<_> = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut encodings = vec![bytes.join(", "), hex.concat()];
    encodings.extend(std::str::from_utf8(secret).ok().map(str::to_owned));
    for start in 0..3 {
        let whole = (secret.len() - start) / 3 * 3;
        encodings.push(base64_simd::STANDARD.encode_to_string(&secret[start..start + whole]));
    }
    encodings
}

#[track_caller]
pub fn assert_redacted(what: &str, text: &str) {
    let found = found_in(text);
    assert!(found.is_empty(), "{what} shows {found:?}: {text}");
}

#[track_caller]
pub fn assert_debug_redacted(value: &dyn Debug) {
    assert_redacted("Debug", &format!("{value:?}"));
    assert_redacted("Debug, with line breaks,", &format!("{value:#?}"));
}

#[track_caller]
pub fn assert_error_redacted(error: &(dyn Error + 'static)) {
    for cause in std::iter::successors(Some(error), |&error| error.source()) {
        assert_debug_redacted(&cause);
        assert_redacted("an error", &format!("{cause} {cause:#}"));
    }
}

#[track_caller]
pub fn assert_display_redacted(value: &(impl Debug + Display)) {
    assert_debug_redacted(value);
    assert_redacted("Display", &value.to_string());
}

#[test]
fn secrets_are_found_in_every_encoding() {
    for (secret, name) in [(PAYLOAD, "a payload"), (TOKEN, "a session token")] {
        for before in ["", "x", "xy"] {
            let data = format!("{before}{secret} and more");
            let hex: String = data.bytes().map(|byte| format!("{byte:02x}")).collect();
            let base64 = base64_simd::STANDARD.encode_to_string(&data);
            for text in [data.clone(), format!("{:?}", data.as_bytes()), hex, base64] {
                assert_eq!(found_in(&text), [name], "{text}");
            }
        }
    }
    assert_eq!(found_in(&format!("Some({HASH_KEY})")), ["a hash key"]);
    assert!(found_in("nothing of the kind").is_empty());
}
