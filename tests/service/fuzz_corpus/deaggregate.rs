//! What must hold of anything that is taken for an aggregate.

use bytes::Bytes;
use kinesis_sink::aggregate::{Member, deaggregate, encode};

use super::protobuf::{self, wrapped};

/// Magic, digest and, of each member, the smallest message there is.
const OVERHEAD_BYTES: usize = 20;
const SMALLEST_MEMBER_BYTES: usize = 6;

/// The input as the data of a Kinesis record, and once more as the message between magic and digest, which no
/// chance would get right.
pub fn check(input: &[u8]) {
    check_data(&Bytes::copy_from_slice(input));
    check_data(&wrapped(input));
}

fn check_data(data: &Bytes) {
    let members = deaggregate(data);
    let (is_aggregate, told) = (members.is_aggregate(), members.len());
    let members: Vec<Member> = members.collect();
    assert_eq!(members.len(), told);
    let expected = message(data).and_then(protobuf::members);
    if is_aggregate {
        check_bounds(data, &members);
        check_members(&members, &expected.expect("prost reads it, too"));
        check_round_trip(&members);
    } else {
        check_plain(data, &members);
        // prost skips groups, which this format has none of.
        assert!(expected.is_none() || may_hold_a_group(data), "prost reads it");
    }
}

fn message(data: &[u8]) -> Option<&[u8]> {
    let message = data.get(4..data.len().checked_sub(16)?)?;
    (!message.is_empty() && wrapped(message) == data).then_some(message)
}

fn may_hold_a_group(message: &[u8]) -> bool {
    let opens = message.iter().position(|byte| byte & 7 == 3);
    opens.is_some_and(|place| message[place..].iter().any(|byte| byte & 7 == 4))
}

fn check_plain(data: &Bytes, members: &[Member]) {
    let [member] = members else { panic!("{} members of plain data", members.len()) };
    assert_eq!(member.data(), data);
    assert_eq!(member.data().as_ptr(), data.as_ptr());
    assert_eq!((member.partition_key(), member.explicit_hash_key()), (None, None));
    assert_eq!(member.sub_sequence_number(), None);
}

/// What comes out is no more than what went in.
fn check_bounds(data: &Bytes, members: &[Member]) {
    assert!(members.len() * SMALLEST_MEMBER_BYTES + OVERHEAD_BYTES <= data.len());
    let payload: usize = members.iter().map(|member| member.data().len()).sum();
    assert!(payload + OVERHEAD_BYTES <= data.len());
    let within = data.as_ptr_range();
    for member in members.iter().filter(|member| !member.data().is_empty()) {
        let slice = member.data().as_ptr_range();
        assert!(within.start <= slice.start && slice.end <= within.end, "a copy");
    }
}

fn check_members(members: &[Member], expected: &[protobuf::Read]) {
    assert_eq!(members.len(), expected.len());
    for (place, (member, (key, hash_key, data))) in members.iter().zip(expected).enumerate() {
        assert!(member.partition_key().is_some_and(|read| read.as_str() == key));
        assert_eq!(member.explicit_hash_key().map(|key| key.get()), hash_key.map(|key| key.get()));
        assert_eq!(member.data(), data);
        assert_eq!(member.sub_sequence_number(), Some(place as u64));
    }
}

/// Packed again they come out as the same, in one form.
fn check_round_trip(members: &[Member]) {
    let packed = encode(members).expect("members of an aggregate have keys");
    let read = deaggregate(&packed);
    assert!(read.is_aggregate());
    let read: Vec<Member> = read.collect();
    assert!(read == members, "other members");
    assert_eq!(encode(&read).as_ref(), Some(&packed));
}
