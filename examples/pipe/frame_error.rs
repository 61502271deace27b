use kinesis_sink::limits::MAX_RECORD_BYTES;

use crate::dead_letter::DeadLetterError;

/// The reason why a frame is rejected, and how to fix it. The text contains no data of the frame.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("longer than {MAX_RECORD_BYTES} bytes, the maximum size of a record: split it")]
    TooLong,
    #[error("invalid JSON at byte {0}: fix the line or use --format lines")]
    InvalidJson(usize),
    #[error("no value at --key-pointer {0}: add a key or use another pointer")]
    PointerNotFound(String),
    #[error(
        "value at --key-pointer {pointer} is {found}: point to a string, a number, or a boolean"
    )]
    NotScalar { pointer: String, found: &'static str },
    #[error("{fields} fields, but --key-field is {number}: check --key-field and --delimiter")]
    FieldNotFound { number: u32, fields: usize },
    #[error("field {0} is not UTF-8: use another --key-field")]
    InvalidUtf8(u32),
    #[error(transparent)]
    DeadLetter(#[from] DeadLetterError),
    #[error(transparent)]
    Record(kinesis_sink::Error),
}
