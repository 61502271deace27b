//! Serialization of PutRecords requests.
//!
//! The SDK serializes the input of a call with the *client protocol* of its configuration, which makes a virtual call
//! per member and copies each blob into a base64 `String`. For small records this is most of the cost of a request.
//!
//! A protocol can be replaced for a single call. The interceptor [`Entries`] replaces it by a `PutRecordsProtocol`, and
//! the input of the call has the stream but no records:
//!
//! 1. The client protocol serializes the input: method, path, headers and the name of the stream.
//! 2. The body is written in one pass into one allocation: first the entries, then the members of the input.
//! 3. The client protocol handles endpoint and errors.
//! 4. The results are read directly from the [`response`], not from an output of the SDK. Unusual responses are read by
//!    the SDK.
//!
//! The bytes are the same as those of the SDK. With a protocol other than those of [`Body`], the interceptor adds the
//! records to the input, and the SDK serializes them.

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

/// Protocol with a known format of PutRecords bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    /// AWS JSON 1.1, the default of the SDK.
    Json,
    /// [`KinesisCbor`].
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

    /// Returns an empty output.
    fn empty(self) -> &'static [u8] {
        match self {
            Self::Json => b"{}",
            #[cfg(feature = "cbor")]
            Self::Cbor => &[cbor::BEGIN_MAP, cbor::END],
        }
    }

    /// Inserts the entries before the `members` of a body of the SDK. Returns `None` if that is no body of this protocol.
    fn with_entries(self, entries: &[Entry], members: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Json => json::with_entries(entries, members),
            #[cfg(feature = "cbor")]
            Self::Cbor => cbor::with_entries(entries, members),
        }
    }
}
