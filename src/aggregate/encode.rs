use bytes::Bytes;

use super::{Layout, Member};

/// Packs members into the data of one Kinesis record, in this order.
///
/// Every payload is copied once, and the result allocated once, at its exact size. An aggregate of one is
/// encoded as told, although a producer sends a single record better plain, without the 20 bytes and the
/// key that come on top.
///
/// Nothing is said here about the key under which the aggregate is sent: all members must hash into the
/// shard that it lands on, [or readers drop it](super#what-readers-do-with-it).
///
/// # Errors
///
/// - [`EncodeError::NoMembers`]: there is nothing to pack.
/// - [`EncodeError::NoPartitionKey`]: a member is plain data that came out of
///   [`deaggregate`](super::deaggregate) and has no key of its own.
///
/// ```
/// use kinesis_sink::aggregate::{Member, encode};
///
/// let members = [Member::new("device-7", "on"), Member::new("device-8", "off")];
/// let data = encode(&members)?;
/// // Magic and digest, two keys, two records.
/// assert_eq!(data.len(), 20 + 2 * (2 + 8) + (2 + 6) + (2 + 7));
/// # Ok::<_, kinesis_sink::aggregate::EncodeError>(())
/// ```
pub fn encode<'a>(members: impl IntoIterator<Item = &'a Member>) -> Result<Bytes, EncodeError> {
    let mut layout = Layout::default();
    let mut payloads = Vec::new();
    for (index, member) in members.into_iter().enumerate() {
        let key = member.partition_key.as_ref().ok_or(EncodeError::NoPartitionKey { index })?;
        layout.add(key, member.explicit_hash_key, member.data.len());
        payloads.push(&member.data);
    }
    if payloads.is_empty() {
        return Err(EncodeError::NoMembers);
    }
    Ok(layout.encode(payloads))
}

/// Why members cannot be packed into an aggregate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// There are none: readers would take what came of it for plain data.
    #[error("an aggregate needs at least one member: send nothing instead")]
    NoMembers,
    /// A member without a partition key, which the format has no way to write.
    #[error(
        "member {index} has no partition key: make it with Member::new and the key of the Kinesis \
         record that its data came in"
    )]
    NoPartitionKey {
        /// Its place among the members, from 0.
        index: usize,
    },
}
