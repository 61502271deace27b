use bytes::Bytes;

use super::{Layout, Member};

/// Encodes members, in order, as the data of one Kinesis record.
///
/// Each payload is copied once, and the result is allocated once at its exact size. A single member is also encoded as
/// an aggregate, which is larger than a plain record: it adds 20 bytes for magic and digest, and a second copy of the
/// key.
///
/// The returned data does not include the partition key of the Kinesis record. Choose a key that belongs to the same
/// shard as all members. Otherwise, [consumers discard the aggregate](super#behavior-of-readers).
///
/// Returns `None` if there are no members, because readers would treat the result as plain data. Also returns `None` if
/// a member has no partition key, which the format requires. Plain members returned by
/// [`deaggregate`](super::deaggregate) have no partition key: create them again with [`Member::new`] and the key of
/// their Kinesis record.
///
/// ```
/// use kinesis_sink::aggregate::{Member, encode};
///
/// let members = [Member::new("device-7", "on"), Member::new("device-8", "off")];
/// let data = encode(&members).expect("each member has a key");
/// // Magic and digest, two keys, two records.
/// assert_eq!(data.len(), 20 + 2 * (2 + 8) + (2 + 6) + (2 + 7));
/// ```
pub fn encode<'a>(members: impl IntoIterator<Item = &'a Member>) -> Option<Bytes> {
    let mut layout = Layout::default();
    let mut payloads = Vec::new();
    for member in members {
        let key = member.partition_key.as_ref()?;
        layout.add(key, member.explicit_hash_key, member.data.len());
        payloads.push(&member.data);
    }
    (!payloads.is_empty()).then(|| layout.encode(payloads))
}
