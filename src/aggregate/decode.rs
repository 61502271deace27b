use std::fmt;
use std::iter::FusedIterator;

use bytes::Bytes;
use md5::{Digest, Md5};

use super::Member;
use super::wire::{
    DIGEST_BYTES, Fields, MAGIC, Malformed, OVERHEAD_BYTES, Value, aggregated_record as outer,
    record as inner,
};
use crate::record::{HashKey, Key};

/// Returns the user records in the data of a Kinesis record.
///
/// Data that is not an aggregate is returned unchanged as one plain member; see
/// [behavior of readers](super#behavior-of-readers). [`is_aggregate`](Members::is_aggregate) distinguishes the two
/// cases. The data can come from an untrusted source, because all of it is validated before it is used.
///
/// This function verifies the digest and validates the whole protobuf message. The returned iterator then parses one
/// member at a time. The payloads are slices of `data`.
///
/// # Memory
///
/// The function allocates only the two key tables, which take at most 12 bytes per byte of `data`, plus 24 bytes. The
/// maximum is reached with empty keys, each of which takes two bytes in the aggregate and 24 bytes in the table. If an
/// aggregate contains more payload than keys, the tables are small compared to its size. Each key is allocated once,
/// even if many members share it.
///
/// A [`Member`] takes 96 bytes. Its payload keeps all of `data` in memory, like any slice of it.
///
/// ```
/// use bytes::Bytes;
/// use kinesis_sink::aggregate::deaggregate;
///
/// let plain = deaggregate(&Bytes::from_static(b"a line")).next().expect("there is one");
/// assert_eq!(plain.data(), "a line");
/// assert_eq!(plain.partition_key(), None);
/// ```
#[must_use]
pub fn deaggregate(data: &Bytes) -> Members {
    let tables = message(data).and_then(|message| Tables::read(message).ok());
    match tables {
        Some(tables) => Members {
            remaining: tables.members,
            offset: MAGIC.len(),
            sub_sequence_number: 0,
            tables: Some(tables),
            data: data.clone(),
        },
        None => Members {
            data: data.clone(),
            tables: None,
            offset: 0,
            remaining: 1,
            sub_sequence_number: 0,
        },
    }
}

/// Returns `true` if `data` begins with the magic of an aggregate. Some consumers fail to process such data if it is
/// not an aggregate.
pub(crate) fn resembles_aggregate(data: &[u8]) -> bool {
    data.starts_with(&MAGIC)
}

fn message(data: &[u8]) -> Option<&[u8]> {
    if data.len() <= OVERHEAD_BYTES {
        return None;
    }
    let (message, digest) = data.strip_prefix(&MAGIC)?.split_last_chunk::<DIGEST_BYTES>()?;
    (Md5::digest(message)[..] == digest[..]).then_some(message)
}

/// Iterator over the user records in the data of a Kinesis record, returned by [`deaggregate`].
///
/// The `Debug` output includes sizes but never payloads or keys.
pub struct Members {
    data: Bytes,
    tables: Option<Tables>,
    offset: usize,
    remaining: usize,
    sub_sequence_number: u64,
}

impl Members {
    /// Returns `true` if the data is an aggregate, and `false` if it is returned as one plain member.
    #[must_use]
    pub fn is_aggregate(&self) -> bool {
        self.tables.is_some()
    }

    /// Returns the next member of an aggregate. [`deaggregate`] has validated the aggregate.
    fn next_member(&mut self) -> Option<Member> {
        let tables = self.tables.as_ref()?;
        let end = self.data.len() - DIGEST_BYTES;
        let mut fields = Fields::new(&self.data[self.offset..end]);
        let record = fields.find_map(|field| match field {
            Ok((outer::RECORDS, Value::Bytes(record))) => Some(RawRecord::read(record)),
            _ => None,
        })?;
        self.offset = end - fields.rest().len();
        let RawRecord { key, hash_key, data } = record.ok()?;
        let member = Member {
            data: self.data.slice_ref(data),
            partition_key: Some(tables.keys.get(key)?.clone()),
            explicit_hash_key: hash_key.and_then(|index| tables.hash_keys.get(index).copied()),
            sub_sequence_number: Some(self.sub_sequence_number),
        };
        self.sub_sequence_number += 1;
        Some(member)
    }
}

impl Iterator for Members {
    type Item = Member;

    fn next(&mut self) -> Option<Member> {
        self.remaining = self.remaining.checked_sub(1)?;
        if self.is_aggregate() {
            return self.next_member();
        }
        Some(Member {
            data: std::mem::take(&mut self.data),
            partition_key: None,
            explicit_hash_key: None,
            sub_sequence_number: None,
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.remaining, Some(self.remaining))
    }
}

impl ExactSizeIterator for Members {}

impl FusedIterator for Members {}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Members")
            .field("data_bytes", &self.data.len())
            .field("is_aggregate", &self.is_aggregate())
            .field("remaining", &self.remaining)
            .finish()
    }
}

/// Key tables of a valid aggregate, and its number of members.
struct Tables {
    keys: Vec<Key>,
    hash_keys: Vec<HashKey>,
    members: usize,
}

impl Tables {
    /// Validates the whole message and reads its key tables. A table can follow the records that refer to it.
    fn read(message: &[u8]) -> Result<Self, Malformed> {
        let (mut keys, mut hash_keys, mut members) = (0, 0, 0);
        let (mut keys_needed, mut hash_keys_needed) = (0, 0);
        for field in Fields::new(message) {
            match field? {
                (outer::PARTITION_KEY_TABLE, Value::Bytes(_)) => keys += 1,
                (outer::EXPLICIT_HASH_KEY_TABLE, Value::Bytes(_)) => hash_keys += 1,
                (outer::RECORDS, Value::Bytes(record)) => {
                    let record = RawRecord::read(record)?;
                    members += 1;
                    keys_needed = keys_needed.max(record.key.saturating_add(1));
                    let hash_key = record.hash_key.map_or(0, |index| index.saturating_add(1));
                    hash_keys_needed = hash_keys_needed.max(hash_key);
                }
                (outer::PARTITION_KEY_TABLE..=outer::RECORDS, _) => return Err(Malformed),
                _ => {}
            }
        }
        if members == 0 || keys_needed > keys || hash_keys_needed > hash_keys {
            return Err(Malformed);
        }
        let mut tables = Self {
            keys: Vec::with_capacity(keys),
            hash_keys: Vec::with_capacity(hash_keys),
            members,
        };
        tables.fill(message, keys + hash_keys)?;
        Ok(tables)
    }

    /// Reads the keys of both tables, `entries` in total, and stops after the last one.
    fn fill(&mut self, message: &[u8], entries: usize) -> Result<(), Malformed> {
        let text = |bytes| std::str::from_utf8(bytes).map_err(|_| Malformed);
        let mut fields = Fields::new(message);
        while self.keys.len() + self.hash_keys.len() < entries
            && let Some(field) = fields.next()
        {
            match field? {
                (outer::PARTITION_KEY_TABLE, Value::Bytes(key)) => {
                    self.keys.push(Key::from(text(key)?));
                }
                (outer::EXPLICIT_HASH_KEY_TABLE, Value::Bytes(hash_key)) => {
                    self.hash_keys.push(text(hash_key)?.parse().map_err(|_| Malformed)?);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Encoded member, which contains key indexes instead of keys.
struct RawRecord<'a> {
    key: usize,
    hash_key: Option<usize>,
    data: &'a [u8],
}

impl<'a> RawRecord<'a> {
    fn read(message: &'a [u8]) -> Result<Self, Malformed> {
        let (mut key, mut hash_key, mut data) = (None, None, None);
        for field in Fields::new(message) {
            match field? {
                (inner::PARTITION_KEY_INDEX, Value::Number(index)) => key = Some(index),
                (inner::EXPLICIT_HASH_KEY_INDEX, Value::Number(index)) => hash_key = Some(index),
                (inner::DATA, Value::Bytes(bytes)) => data = Some(bytes),
                (inner::PARTITION_KEY_INDEX..=inner::DATA, _) => return Err(Malformed),
                // Skips tags and unknown fields.
                _ => {}
            }
        }
        Ok(Self { key: key.ok_or(Malformed)?, hash_key, data: data.ok_or(Malformed)? })
    }
}
