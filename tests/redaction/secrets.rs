//! What must not show up anywhere, and how it could.

use std::error::Error;
use std::fmt::{Debug, Display};
use std::sync::LazyLock;

use kinesis_sink::Record;

pub const PAYLOAD: &str = "MARKED-payload-of-a-record";
pub const KEY: &str = "MARKED-partition-key";
/// As a number it is as long as a hash key can be.
pub const HASH_KEY: u128 = 271_828_182_845_904_523_536_028_747_135_266_249_775;
pub const ACCESS_KEY_ID: &str = "AKIAMARKEDACCESSKEY";
pub const SECRET: &str = "MARKED-secret-access-key";
pub const TOKEN: &str = "MARKED-session-token-of-a-role";

/// A record that nobody must see.
pub fn record() -> Record {
    Record::from((KEY, PAYLOAD)).with_explicit_hash_key(HASH_KEY)
}

/// The secrets that `text` holds, in any of the usual notations.
pub fn found_in(text: &str) -> Vec<&'static str> {
    static SECRETS: LazyLock<[(&str, Vec<String>); 6]> = LazyLock::new(|| {
        let mut hash_key = notations(&HASH_KEY.to_be_bytes());
        hash_key.push(HASH_KEY.to_string());
        [
            ("a payload", notations(PAYLOAD.as_bytes())),
            ("a partition key", notations(KEY.as_bytes())),
            ("a hash key", hash_key),
            ("an access key id", notations(ACCESS_KEY_ID.as_bytes())),
            ("a secret access key", notations(SECRET.as_bytes())),
            ("a session token", notations(TOKEN.as_bytes())),
        ]
    });
    let shows = |notations: &[String]| notations.iter().any(|notation| text.contains(notation));
    SECRETS.iter().filter(|(_, notations)| shows(notations)).map(|(name, _)| *name).collect()
}

/// As text, as `Debug` writes bytes, in hexadecimal, and in base64 wherever it begins in the data.
fn notations(secret: &[u8]) -> Vec<String> {
    let bytes: Vec<_> = secret.iter().map(u8::to_string).collect();
    let hex: Vec<_> = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut notations = vec![bytes.join(", "), hex.concat()];
    notations.extend(std::str::from_utf8(secret).ok().map(str::to_owned));
    for start in 0..3 {
        let whole = (secret.len() - start) / 3 * 3;
        notations.push(base64_simd::STANDARD.encode_to_string(&secret[start..start + whole]));
    }
    notations
}

/// That no secret is in `text`.
#[track_caller]
pub fn assert_unmarked(what: &str, text: &str) {
    let found = found_in(text);
    assert!(found.is_empty(), "{what} shows {found:?}: {text}");
}

/// That no secret is in what `Debug` says of `value`, in one line or in many.
#[track_caller]
pub fn assert_debug_unmarked(value: &dyn Debug) {
    assert_unmarked("Debug", &format!("{value:?}"));
    assert_unmarked("Debug, with line breaks,", &format!("{value:#?}"));
}

/// The same of an error, of its text, and of all that caused it.
#[track_caller]
pub fn assert_error_unmarked(error: &(dyn Error + 'static)) {
    for cause in std::iter::successors(Some(error), |&error| error.source()) {
        assert_debug_unmarked(&cause);
        assert_unmarked("an error", &format!("{cause} {cause:#}"));
    }
}

/// The same of anything that has a text.
#[track_caller]
pub fn assert_display_unmarked(value: &(impl Debug + Display)) {
    assert_debug_unmarked(value);
    assert_unmarked("Display", &value.to_string());
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
