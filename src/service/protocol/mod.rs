//! How a PutRecords request becomes bytes.
//!
//! The SDK writes a request in two steps: the caller builds an input, and a *client protocol* serialises
//! it. The protocol is a value in the client's configuration, the same object for every operation, and
//! knows nothing of the input but a schema: each member is a virtual call, each blob becomes a base64
//! `String` that is copied into the body. For PutRecords, where one input has up to 500 entries of three
//! members each, that is most of what a request of small records costs.
//!
//! The extension point is that the protocol can be replaced for a single call. [`Entries`] is an
//! interceptor that does so: just before serialisation it takes the protocol that the client is
//! configured with and puts a `PutRecordsProtocol` in its place, which knows the entries. The input of
//! the call names the stream and has no records. Then
//!
//! 1. the client's own protocol serialises that small input, so that the method, the path, the headers
//!    and the stream's name are what the SDK makes of them;
//! 2. the body is written anew, in one pass from the entries into one allocation of the right size,
//!    followed by the members that the SDK wrote;
//! 3. endpoint, signature, retries and errors are the SDK's, through the client's own protocol;
//! 4. the results are read from the answer straight to where the service wants them ([`response`]), and not
//!    by way of an output of the SDK's. An answer that is not of the usual form is left to the SDK.
//!
//! The bytes are those that the SDK's own serialiser writes. This works for the protocols whose bodies
//! are known here ([`Body`]); with any other one the interceptor gives the records to the input after
//! all, and the SDK writes them.

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

/// A protocol whose PutRecords body is known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    /// AWS JSON 1.1, Kinesis's documented protocol and the SDK's default.
    Json,
    /// The protocol of this crate.
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

    /// An output that says nothing.
    fn without_members(self) -> &'static [u8] {
        match self {
            Self::Json => b"{}",
            #[cfg(feature = "cbor")]
            Self::Cbor => &[cbor::BEGIN_MAP, cbor::END],
        }
    }

    /// `members`, a whole body as the SDK wrote it, with the entries put before its other members.
    /// None if it does not look like a body of this protocol.
    fn with_entries(self, entries: &[Entry], members: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Json => json::with_entries(entries, members),
            #[cfg(feature = "cbor")]
            Self::Cbor => cbor::with_entries(entries, members),
        }
    }
}
