use bytes::Bytes;

use super::{Layout, Member};

/// Packs members into the data of one Kinesis record, in order.
///
/// Every payload is copied once, and the result is allocated once at its exact size. A single member is encoded as an
/// aggregate, too. A plain record is smaller, because it needs neither the 20 bytes around the message nor a second
/// copy of the key.
///
/// The key of the Kinesis record is not part of the data. It must select the shard that all members belong to,
/// [or consumers discard them](super#behavior-of-readers).
///
/// Returns `None` if there are no members, because readers would take the result for plain data. Also returns `None` if
/// a member has no partition key, which the format requires. This applies to plain data from
/// [`deaggregate`](super::deaggregate): use [`Member::new`] to add the key of its Kinesis record.
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
