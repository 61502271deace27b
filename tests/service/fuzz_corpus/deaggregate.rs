//! Properties that `deaggregate` must have for any data.

use bytes::Bytes;
use kinesis_sink::aggregate::{Member, deaggregate, encode};

use super::protobuf::{self, wrapped};

const MAGIC_AND_DIGEST_BYTES: usize = 20;
const SMALLEST_MEMBER_BYTES: usize = 6;

/// Checks the input both as the data of a Kinesis record and as a message with a valid digest.
pub fn check(input: &[u8]) {
    check_data(&Bytes::copy_from_slice(input));
    check_data(&wrapped(input));
}

fn check_data(data: &Bytes) {
    let members = deaggregate(data);
    let is_aggregate = members.is_aggregate();
    let length = members.len();
    let members: Vec<Member> = members.collect();
    assert_eq!(members.len(), length);
    let expected = message(data).and_then(protobuf::members);
    if is_aggregate {
        check_bounds(data, &members);
        check_members(&members, &expected.expect("prost rejects it"));
        check_round_trip(&members);
    } else {
        check_plain(data, &members);
        // prost skips groups, whereas this crate rejects them.
        assert!(expected.is_none() || may_contain_group(data), "prost decodes it");
    }
}

fn message(data: &[u8]) -> Option<&[u8]> {
    let message = data.get(4..data.len().checked_sub(16)?)?;
    (!message.is_empty() && wrapped(message) == data).then_some(message)
}

fn may_contain_group(message: &[u8]) -> bool {
    let opens = message.iter().position(|byte| byte & 7 == 3);
    opens.is_some_and(|index| message[index..].iter().any(|byte| byte & 7 == 4))
}

fn check_plain(data: &Bytes, members: &[Member]) {
    let [member] = members else { panic!("{} members of plain data", members.len()) };
    assert_eq!(member.data(), data);
    assert_eq!(member.data().as_ptr(), data.as_ptr());
    assert_eq!((member.partition_key(), member.explicit_hash_key()), (None, None));
    assert_eq!(member.sub_sequence_number(), None);
}

fn check_bounds(data: &Bytes, members: &[Member]) {
    assert!(members.len() * SMALLEST_MEMBER_BYTES + MAGIC_AND_DIGEST_BYTES <= data.len());
    let payload: usize = members.iter().map(|member| member.data().len()).sum();
    assert!(payload + MAGIC_AND_DIGEST_BYTES <= data.len());
    let within = data.as_ptr_range();
    for member in members.iter().filter(|member| !member.data().is_empty()) {
        let slice = member.data().as_ptr_range();
        assert!(within.start <= slice.start && slice.end <= within.end, "the payload is a copy");
    }
}

fn check_members(members: &[Member], expected: &[protobuf::Read]) {
    assert_eq!(members.len(), expected.len());
    for (index, (member, (key, hash_key, data))) in members.iter().zip(expected).enumerate() {
        assert!(member.partition_key().is_some_and(|read| read.as_str() == key));
        assert_eq!(member.explicit_hash_key().map(|key| key.get()), hash_key.map(|key| key.get()));
        assert_eq!(member.data(), data);
        assert_eq!(member.sub_sequence_number(), Some(index as u64));
    }
}

fn check_round_trip(members: &[Member]) {
    let packed = encode(members).expect("members of an aggregate have keys");
    let read = deaggregate(&packed);
    assert!(read.is_aggregate());
    let read: Vec<Member> = read.collect();
    assert!(read == members, "the members differ");
    assert_eq!(encode(&read).as_ref(), Some(&packed));
}
