//! Serialization of PutRecords requests.
//!
//! The SDK serializes the input of a call with the *client protocol* of its configuration, which makes a virtual call
//! per member and copies each blob into a base64 `String`. For small records, this is most of the cost of a request.
//!
//! The client protocol can be replaced for a single call. The interceptor [`Entries`] replaces it with a
//! `PutRecordsProtocol`, which wraps the client protocol. The input of the call contains the stream but no records. The
//! call then proceeds as follows:
//!
//! 1. The client protocol serializes the input: method, path, headers and the name of the stream.
//! 2. `PutRecordsProtocol` writes the body in one pass into one allocation: first the entries, then the members of the
//!    input.
//! 3. The client protocol handles the endpoint and errors.
//! 4. `PutRecordsProtocol` parses the results directly from the [`response`], without creating an SDK output. The SDK
//!    parses only unusual responses.
//!
//! The request has the same bytes as with the SDK serializer. If [`Body`] does not support the client protocol, the
//! interceptor adds the records to the input instead, so that the SDK serializes them.

#[cfg(feature = "cbor")]
mod cbor;
mod json;
#[cfg(feature = "cbor")]
mod kinesis_cbor;
mod put_records;
mod response;

use aws_smithy_schema::ShapeId;

#[cfg(feature = "cbor")]
pub use kinesis_cbor::KinesisCbor;
pub(super) use put_records::Entries;
pub(super) use response::ResponseSlot;

use super::Entry;

/// Format of a PutRecords body, determined by the client protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    /// AWS JSON 1.1, the default of the SDK.
    Json,
    /// Kinesis CBOR, the format of [`KinesisCbor`].
    #[cfg(feature = "cbor")]
    Cbor,
}

impl Body {
    fn of(protocol: &ShapeId<'_>) -> Option<Self> {
        match protocol.as_str() {
            "aws.protocols#awsJson1_1" => Some(Self::Json),
            #[cfg(feature = "cbor")]
            KinesisCbor::ID => Some(Self::Cbor),
            _ => None,
        }
    }

    fn empty(self) -> &'static [u8] {
        match self {
            Self::Json => b"{}",
            #[cfg(feature = "cbor")]
            Self::Cbor => &[cbor::BEGIN_MAP, cbor::END],
        }
    }

    /// Inserts the entries before `members`, a body serialized by the SDK, or returns `None` for another format.
    fn with_entries(self, entries: &[Entry], members: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Json => json::with_entries(entries, members),
            #[cfg(feature = "cbor")]
            Self::Cbor => cbor::with_entries(entries, members),
        }
    }
}
