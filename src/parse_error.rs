use std::fmt;

/// Error returned when a [`StreamId`](crate::StreamId) or a [`HashKey`](crate::record::HashKey) cannot be parsed.
///
/// The message describes the expected format. It contains an invalid stream id, truncated and with control characters
/// escaped. It does not contain an invalid hash key, because the hash key could reveal a partition key.
#[derive(Clone, PartialEq, Eq)]
pub struct ParseError {
    kind: Kind,
}

#[derive(Clone, PartialEq, Eq)]
enum Kind {
    StreamName { given: String },
    StreamArn { given: String, field: &'static str, expected: &'static str },
    HashKeyNotation,
    HashKeyRange,
}

impl ParseError {
    pub(crate) fn stream_name(given: &str) -> Self {
        Self { kind: Kind::StreamName { given: truncate(given) } }
    }

    /// Creates the error for an invalid ARN. `field` is the first invalid field.
    pub(crate) fn stream_arn(given: &str, field: &'static str, expected: &'static str) -> Self {
        Self { kind: Kind::StreamArn { given: truncate(given), field, expected } }
    }

    pub(crate) fn hash_key_notation() -> Self {
        Self { kind: Kind::HashKeyNotation }
    }

    pub(crate) fn hash_key_range() -> Self {
        Self { kind: Kind::HashKeyRange }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::StreamName { given } => write!(
                f,
                "`{}` is not a stream name: use 1 to 128 letters, digits, `_`, `.` or `-`, or an ARN",
                given.escape_debug()
            ),
            Kind::StreamArn { given, field, expected } => write!(
                f,
                "`{}` is not a stream ARN: its {field} should be {expected}",
                given.escape_debug()
            ),
            Kind::HashKeyNotation => {
                f.write_str("not a hash key: use decimal digits without sign or leading zeros")
            }
            Kind::HashKeyRange => write!(f, "not a hash key: set it between 0 and {}", u128::MAX),
        }
    }
}

impl fmt::Debug for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ParseError({self})")
    }
}

impl std::error::Error for ParseError {}

fn truncate(text: &str) -> String {
    const MAX_CHARS: usize = 200;
    if text.chars().count() <= MAX_CHARS {
        return text.to_owned();
    }
    text.chars().take(MAX_CHARS).chain(['…']).collect()
}
