//! What not every server can do. `shortcomings.rs` shows it of each of them, without the sink.

use super::server::{Make, Protocol};

/// Something that a case needs of its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// PutRecords by ARN.
    PutByArn,
    /// ListShards and DescribeStreamSummary by ARN.
    LookUpByArn,
    /// Partition keys are measured in characters.
    KeysInCharacters,
    /// A request of more than the service's 5 MiB (then) is refused.
    RequestLimit,
    /// Payloads come back as they were put.
    KeepData,
    /// Answers may be longer than 16 KiB.
    LongAnswers,
    /// GetShardIterator takes a time.
    ReadFromTime,
}

/// Why the server lacks the feature, or `None` if it has it.
pub fn reason(make: Make, protocol: Protocol, feature: Feature) -> Option<&'static str> {
    use Feature::{
        KeepData, KeysInCharacters, LongAnswers, LookUpByArn, PutByArn, ReadFromTime, RequestLimit,
    };
    use Make::{Embedded, Kinesalite, KinesisLocal};
    let reason = match (make, feature) {
        (Embedded, LookUpByArn) => "it asks for the name",
        (Embedded, KeysInCharacters) => "it counts their bytes",
        (KinesisLocal, RequestLimit) => "it takes requests of any size",
        (Kinesalite, PutByArn | LookUpByArn) => "it is older than ARNs in requests",
        (Embedded, ReadFromTime) if protocol.is_cbor() => "it takes the milliseconds for seconds",
        (Kinesalite, ReadFromTime) if protocol.is_cbor() => "it refuses a time that is tagged",
        (Kinesalite, KeepData) if protocol.is_cbor() => "it stores what Node prints of a Buffer",
        (Kinesalite, LongAnswers) if protocol.is_cbor() => "it cuts them off",
        _ => return None,
    };
    Some(reason)
}
