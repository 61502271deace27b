//! Constants of the aggregation format, and a zero-copy reader of protobuf fields.
//!
//! The code uses the varints of prost but not its derived messages. Derived messages take at least 1.5 times as long to
//! write, excluding the digest (`benches/aggregate.rs`). They are as fast to read, but two bytes of a malicious
//! aggregate expand to a message of 64 bytes, in a vector that grows by doubling
//! (`tests/aggregation/decode_memory.rs`).

pub(super) const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];
/// Length of the MD5 digest at the end of every aggregate.
pub(super) const DIGEST_BYTES: usize = 16;
pub(super) const OVERHEAD_BYTES: usize = MAGIC.len() + DIGEST_BYTES;

/// Field numbers of the message `AggregatedRecord`.
pub(super) mod aggregated_record {
    pub(crate) const PARTITION_KEY_TABLE: u32 = 1;
    pub(crate) const EXPLICIT_HASH_KEY_TABLE: u32 = 2;
    pub(crate) const RECORDS: u32 = 3;
}

/// Field numbers of the message `Record`. Field 4, `tags`, is skipped when read and never written.
pub(super) mod record {
    pub(crate) const PARTITION_KEY_INDEX: u32 = 1;
    pub(crate) const EXPLICIT_HASH_KEY_INDEX: u32 = 2;
    pub(crate) const DATA: u32 = 3;
}

/// Wire types of protobuf.
pub(super) const VARINT: u32 = 0;
pub(super) const LENGTH_DELIMITED: u32 = 2;
const FIXED_64: u32 = 1;
const FIXED_32: u32 = 5;

/// Error for bytes that are not a protobuf message of this format.
#[derive(Debug)]
pub(super) struct Malformed;

impl From<prost::DecodeError> for Malformed {
    fn from(_: prost::DecodeError) -> Self {
        Self
    }
}

#[derive(Debug)]
pub(super) enum Value<'a> {
    Number(usize),
    Bytes(&'a [u8]),
    /// Four or eight bytes. No known field has a value of this type.
    Fixed,
}

/// Iterator over the fields of a message. Callers must stop at the first error.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn read(&mut self) -> Result<(u32, Value<'a>), Malformed> {
        let key = u32::try_from(self.varint()?).map_err(|_| Malformed)?;
        let number = key >> 3;
        if number == 0 {
            return Err(Malformed);
        }
        let value = match key & 7 {
            VARINT => Value::Number(self.varint()?),
            LENGTH_DELIMITED => {
                let bytes = self.varint()?;
                Value::Bytes(self.take(bytes)?)
            }
            FIXED_64 => self.take(8).map(|_| Value::Fixed)?,
            FIXED_32 => self.take(4).map(|_| Value::Fixed)?,
            // Rejects groups, which the format does not use, and invalid wire types.
            _ => return Err(Malformed),
        };
        Ok((number, value))
    }

    fn varint(&mut self) -> Result<usize, Malformed> {
        // Most values take one byte.
        if let [byte @ ..0x80, rest @ ..] = self.rest {
            self.rest = rest;
            return Ok(usize::from(*byte));
        }
        Ok(prost::decode_length_delimiter(&mut self.rest)?)
    }

    fn take(&mut self, bytes: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(bytes).ok_or(Malformed)?;
        self.rest = rest;
        Ok(taken)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        (!self.rest.is_empty()).then(|| self.read())
    }
}
