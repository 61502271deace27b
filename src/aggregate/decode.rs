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

/// Takes the data of one Kinesis record apart into the user records it holds.
///
/// Data that is not an aggregate comes out as one plain member, whole: see
/// [what readers do](super#what-readers-do-with-it) for when that is, and
/// [`is_aggregate`](Members::is_aggregate) for how to tell. The data may be anything at all, since nothing
/// in it is believed before it was checked.
///
/// Reads all of the data, once for its digest and once for the protobuf, before it returns; the members
/// are then found one by one as the iterator is asked for them, and their payloads are slices of `data`.
///
/// # Memory
///
/// Allocates at most 12 bytes per byte of `data`, and 24 more, whatever `data` is: only the two tables of
/// keys are held, an empty key takes two bytes in the aggregate and 24 in the table, and there is nothing
/// with a worse ratio. For an aggregate that has more data than keys it is a small part of its size. Each
/// key is allocated once, however many members have it.
///
/// A member that is kept takes 96 bytes, and keeps all of `data` alive, as every slice of it does.
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
            left: tables.members,
            unread: MAGIC.len(),
            sub_sequence_number: 0,
            tables: Some(tables),
            data: data.clone(),
        },
        None => {
            Members { data: data.clone(), tables: None, unread: 0, left: 1, sub_sequence_number: 0 }
        }
    }
}

/// Whether `data` begins like an aggregate. Some readers fail at such data if it is not one.
pub(crate) fn resembles_one(data: &[u8]) -> bool {
    data.starts_with(&MAGIC)
}

/// What lies between magic and digest, if both are right.
fn message(data: &[u8]) -> Option<&[u8]> {
    if data.len() <= OVERHEAD_BYTES {
        return None;
    }
    let (message, digest) = data.strip_prefix(&MAGIC)?.split_last_chunk::<DIGEST_BYTES>()?;
    (Md5::digest(message)[..] == digest[..]).then_some(message)
}

/// The members of one Kinesis record's data, from [`deaggregate`].
///
/// `Debug` shows sizes, never payload or keys.
pub struct Members {
    data: Bytes,
    /// `None`: the data is plain.
    tables: Option<Tables>,
    /// Where in the data the first field lies that was not read yet.
    unread: usize,
    left: usize,
    sub_sequence_number: u64,
}

impl Members {
    /// Whether the data is an aggregate. If not, it is the only member.
    #[must_use]
    pub fn is_aggregate(&self) -> bool {
        self.tables.is_some()
    }

    /// The next member of an aggregate. Everything in it was checked before.
    fn next_of(&mut self) -> Option<Member> {
        let tables = self.tables.as_ref()?;
        let end = self.data.len() - DIGEST_BYTES;
        let mut fields = Fields::of(&self.data[self.unread..end]);
        let record = fields.find_map(|field| match field {
            Ok((outer::RECORDS, Value::Bytes(record))) => Some(RawRecord::read(record)),
            _ => None,
        })?;
        self.unread = end - fields.rest().len();
        let RawRecord { key, hash_key, data } = record.ok()?;
        let member = Member {
            data: self.data.slice_ref(data),
            partition_key: Some(tables.keys.get(key)?.clone()),
            explicit_hash_key: hash_key.and_then(|place| tables.hash_keys.get(place).copied()),
            sub_sequence_number: Some(self.sub_sequence_number),
        };
        self.sub_sequence_number += 1;
        Some(member)
    }
}

impl Iterator for Members {
    type Item = Member;

    fn next(&mut self) -> Option<Member> {
        self.left = self.left.checked_sub(1)?;
        if self.is_aggregate() {
            return self.next_of();
        }
        Some(Member {
            data: std::mem::take(&mut self.data),
            partition_key: None,
            explicit_hash_key: None,
            sub_sequence_number: None,
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Members {}

impl FusedIterator for Members {}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Members")
            .field("data_bytes", &self.data.len())
            .field("is_aggregate", &self.is_aggregate())
            .field("left", &self.left)
            .finish()
    }
}

/// The keys of an aggregate that was found to be in order, and how many members it has.
struct Tables {
    keys: Vec<Key>,
    hash_keys: Vec<HashKey>,
    members: usize,
}

impl Tables {
    /// Checks the whole message. Tables may come after the records that refer to them.
    fn read(message: &[u8]) -> Result<Self, Malformed> {
        let (mut keys, mut hash_keys, mut members) = (0, 0, 0);
        let (mut keys_needed, mut hash_keys_needed) = (0, 0);
        for field in Fields::of(message) {
            match field? {
                (outer::PARTITION_KEY_TABLE, Value::Bytes(_)) => keys += 1,
                (outer::EXPLICIT_HASH_KEY_TABLE, Value::Bytes(_)) => hash_keys += 1,
                (outer::RECORDS, Value::Bytes(record)) => {
                    let record = RawRecord::read(record)?;
                    members += 1;
                    keys_needed = keys_needed.max(record.key.saturating_add(1));
                    let hash_key = record.hash_key.map_or(0, |place| place.saturating_add(1));
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

    /// Reads so many entries, and not the records that follow the last of them.
    fn fill(&mut self, message: &[u8], entries: usize) -> Result<(), Malformed> {
        let text = |bytes| std::str::from_utf8(bytes).map_err(|_| Malformed);
        let mut fields = Fields::of(message);
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

/// A member as it is written.
struct RawRecord<'a> {
    key: usize,
    hash_key: Option<usize>,
    data: &'a [u8],
}

impl<'a> RawRecord<'a> {
    fn read(message: &'a [u8]) -> Result<Self, Malformed> {
        let (mut key, mut hash_key, mut data) = (None, None, None);
        for field in Fields::of(message) {
            match field? {
                (inner::PARTITION_KEY_INDEX, Value::Number(index)) => key = Some(index),
                (inner::EXPLICIT_HASH_KEY_INDEX, Value::Number(index)) => hash_key = Some(index),
                (inner::DATA, Value::Bytes(bytes)) => data = Some(bytes),
                (inner::PARTITION_KEY_INDEX..=inner::DATA, _) => return Err(Malformed),
                // Tags, and whatever later writers may add.
                _ => {}
            }
        }
        Ok(Self { key: key.ok_or(Malformed)?, hash_key, data: data.ok_or(Malformed)? })
    }
}
