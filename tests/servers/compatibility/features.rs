//! Lists the features that not every server supports. `limitations.rs` demonstrates each limitation without the sink.

use super::server::{Protocol, ServerKind};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    PutByArn,
    /// ListShards and DescribeStreamSummary accept an ARN.
    LookupByArn,
    /// The limit for partition keys is measured in characters.
    KeysInCharacters,
    /// Requests above 5 MiB, a former limit of the service, are rejected.
    RequestLimit,
    BinaryData,
    /// Responses can be longer than 16 KiB.
    LongResponses,
    ReadFromTime,
}

pub fn unsupported_reason(
    kind: ServerKind,
    protocol: Protocol,
    feature: Feature,
) -> Option<&'static str> {
    use Feature::{
        BinaryData, KeysInCharacters, LongResponses, LookupByArn, PutByArn, ReadFromTime,
        RequestLimit,
    };
    use ServerKind::{Embedded, Kinesalite, KinesisLocal};
    let reason = match (kind, feature) {
        (Embedded, LookupByArn) => "it requires the stream name",
        (Embedded, KeysInCharacters) => "it limits keys in bytes",
        (KinesisLocal, RequestLimit) => "it accepts requests of any size",
        (Kinesalite, PutByArn | LookupByArn) => "it does not know ARNs in requests",
        (Embedded, ReadFromTime) if protocol.is_cbor() => "it reads milliseconds as seconds",
        (Kinesalite, ReadFromTime) if protocol.is_cbor() => "it rejects tagged times",
        (Kinesalite, BinaryData) if protocol.is_cbor() => "it stores the JSON of a Node Buffer",
        (Kinesalite, LongResponses) if protocol.is_cbor() => "it truncates them",
        _ => return None,
    };
    Some(reason)
}
