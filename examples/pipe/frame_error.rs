//! Input that makes no record.

use kinesis_sink::limits::MAX_RECORD_BYTES;

/// Why it makes none, and what to change. Says nothing of what the input holds.
#[derive(Debug, thiserror::Error)]
pub enum Bad {
    #[error("it has more than {MAX_RECORD_BYTES} bytes, and no record may have more: split it")]
    Endless,
    #[error("it is not JSON at byte {0}: mend it, or send lines as they are with --format lines")]
    NotJson(usize),
    #[error("it has nothing at --key-pointer {0}: add a key, or point elsewhere")]
    Nowhere(String),
    #[error(
        "at --key-pointer {pointer} it has {found}, which is no key: point at a string, a number or a boolean"
    )]
    NoScalar { pointer: String, found: &'static str },
    #[error("it has {fields} fields, and --key-field is {number}: check that and --delimiter")]
    NoField { number: u32, fields: usize },
    #[error("its field {0} is not UTF-8, and a partition key is: name another --key-field")]
    NotText(u32),
    #[error(transparent)]
    Record(kinesis_sink::Error),
}
