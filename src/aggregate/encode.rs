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
/// Returns `None` if there are no members, which readers would take for plain data, and if a member has no partition
/// key, which the format cannot express: plain data that came out of [`deaggregate`](super::deaggregate). Give such
/// data the key of its Kinesis record with [`Member::new`].
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
