//! Timestamps: milliseconds since the epoch, with tag 1.

use aws_smithy_cbor::Decoder;
use aws_smithy_cbor::data::Type;
use aws_smithy_cbor::decode::DeserializeError;
use aws_smithy_schema::serde::SerdeError;
use aws_smithy_types::DateTime;

use crate::service::protocol::cbor::head;

/// Tag 1, a time since the epoch.
const EPOCH_TIME: u8 = 0xc1;
const UNSIGNED: u8 = 0;
const NEGATIVE: u8 = 1 << 5;

/// Minimum number that is read as milliseconds. In milliseconds, it is a time in March 1973, long before Kinesis. In
/// seconds, it would be a time in the year 5138.
const MIN_MILLIS: f64 = 100_000_000_000.0;

pub(super) fn write(time: &DateTime, body: &mut Vec<u8>) -> Result<(), SerdeError> {
    let millis = time.to_millis().map_err(|error| SerdeError::invalid_input(error.to_string()))?;
    body.push(EPOCH_TIME);
    integer(millis, body);
    Ok(())
}

pub(super) fn integer(number: i64, body: &mut Vec<u8>) {
    match u64::try_from(number) {
        Ok(number) => head(UNSIGNED, number, body),
        // CBOR encodes a negative number n as -1 - n, which is !n.
        Err(_) => head(NEGATIVE, !number as u64, body),
    }
}

pub(super) fn read(decoder: &mut Decoder<'_>, input: &[u8]) -> Result<DateTime, DeserializeError> {
    let at = decoder.position();
    if input.get(at) == Some(&EPOCH_TIME) {
        decoder.set_position(at + 1);
    }
    let number = match decoder.datatype()? {
        Type::F16 | Type::F32 | Type::F64 => decoder.double()?,
        _ => decoder.long()? as f64,
    };
    let millis = if number.abs() < MIN_MILLIS { number * 1_000.0 } else { number };
    // Rounds, because a binary fraction of seconds can be slightly below the intended millisecond.
    Ok(DateTime::from_millis(millis.round() as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(millis: i64) -> Vec<u8> {
        let mut body = Vec::new();
        write(&DateTime::from_millis(millis), &mut body).unwrap();
        body
    }

    fn millis(input: &[u8]) -> i64 {
        read(&mut Decoder::new(input), input).unwrap().to_millis().unwrap()
    }

    #[test]
    fn write_emits_tagged_milliseconds() {
        assert_eq!(written(1_767_225_600_123), b"\xc1\x1b\x00\x00\x01\x9b\x76\xda\xa8\x7b");
        assert_eq!(written(0), b"\xc1\x00");
        assert_eq!(written(-25), b"\xc1\x38\x18");
    }

    #[test]
    fn read_accepts_seconds_and_milliseconds() {
        let now = 1_767_225_600_123;
        let float = |number: f64| [b"\xfb".as_slice(), &number.to_be_bytes()].concat();
        let tagged = |item: Vec<u8>| [b"\xc1".as_slice(), &item].concat();
        let seconds = float(now as f64 / 1_000.0);
        for input in [written(now), written(now)[1..].to_vec(), float(now as f64)] {
            assert_eq!(millis(&input), now, "{input:x?}");
        }
        assert_eq!(millis(&seconds), now);
        assert_eq!(millis(&tagged(seconds)), now);
        assert_eq!(millis(b"\x1a\x69\x55\xb9\x00"), 1_767_225_600_000);
    }

    #[test]
    fn read_rejects_other_types() {
        for input in [b"".as_slice(), b"\xc1", b"\xc1\xc1\x00", b"\x61x", b"\xf6", b"\xc0\x00"] {
            assert!(read(&mut Decoder::new(input), input).is_err(), "{input:x?}");
        }
    }
}
