//! Response parser that creates the results directly, without creating an SDK output.
//!
//! The SDK allocates up to four strings per result, and makes a virtual call per member. This parser copies the
//! response once. Sequence numbers are slices of the copy, and shard ids are short enough to be stored inline. The SDK
//! parses unusual responses, such as those with unknown members or escapes, because this parser does not support them.

#[cfg(feature = "cbor")]
mod cbor;
mod json;

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use bytes_utils::Str;
use smol_str::SmolStr;

use super::Body;
use crate::service::response::ResultMembers;
use crate::service::{EntryError, Placement};

type Results = Vec<Result<Placement, EntryError>>;

/// Slot that passes the results of a call to its caller, because the SDK output contains no results.
#[derive(Debug, Clone, Default)]
pub(in crate::service) struct ResponseSlot(Arc<Mutex<Option<Results>>>);

impl ResponseSlot {
    /// Takes the results. Returns `None` if the SDK has parsed the response.
    pub(in crate::service) fn take(&self) -> Option<Results> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Parses the response to a request with `entries` entries. Returns `false` if the SDK must parse it.
    pub(super) fn read(&self, body: Body, response: &[u8], entries: usize) -> bool {
        let response = Bytes::copy_from_slice(response);
        let mut results =
            ResultReader { response: &response, results: Vec::with_capacity(entries) };
        let read = match body {
            Body::Json => json::read(&response, &mut results),
            #[cfg(feature = "cbor")]
            Body::Cbor => cbor::read(&response, &mut results),
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = read.map(|()| results.results);
        read.is_some()
    }
}

struct ResultReader<'a> {
    response: &'a Bytes,
    results: Results,
}

/// Members of a result, as slices of the response. The slices can contain invalid UTF-8.
#[derive(Default)]
struct Members<'a> {
    shard_id: Option<&'a [u8]>,
    sequence_number: Option<&'a [u8]>,
    error_code: Option<&'a [u8]>,
    error_message: Option<&'a [u8]>,
}

impl ResultReader<'_> {
    /// Adds a result. Returns `None` if a member is invalid UTF-8.
    fn push(&mut self, members: &Members<'_>) -> Option<()> {
        let owned = |text: &[u8]| std::str::from_utf8(text).ok().map(str::to_owned);
        let slice = |text: &[u8]| Str::try_from(self.response.slice_ref(text)).ok();
        let members = ResultMembers {
            shard_id: optional(members.shard_id, |id| self.shard_id(id))?,
            sequence_number: optional(members.sequence_number, slice)?,
            error_code: optional(members.error_code, owned)?,
            error_message: optional(members.error_message, owned)?,
        };
        self.results.push(members.into_result());
        Some(())
    }

    fn shard_id(&self, id: &[u8]) -> Option<SmolStr> {
        match self.results.last() {
            // Consecutive results often have the same shard.
            Some(Ok(last)) if last.shard_id().as_bytes() == id => Some(last.shard_id.clone()),
            _ => std::str::from_utf8(id).ok().map(SmolStr::new),
        }
    }
}

/// Sets a member, unless it is null. Returns `None` if the member is a duplicate, which the SDK handles.
fn set_once<'a>(member: &mut Option<&'a [u8]>, text: Option<&'a [u8]>) -> Option<()> {
    match text {
        Some(text) => member.replace(text).is_none().then_some(()),
        None => Some(()),
    }
}

/// Checks an unused member. Returns `None` if it is invalid UTF-8, which the SDK rejects.
fn is_text(member: Option<&[u8]>) -> Option<()> {
    member.is_none_or(|text| std::str::from_utf8(text).is_ok()).then_some(())
}

/// Reads an optional member. Returns `None` if it is invalid.
fn optional<T>(text: Option<&[u8]>, read: impl FnOnce(&[u8]) -> Option<T>) -> Option<Option<T>> {
    match text {
        Some(text) => read(text).map(Some),
        None => Some(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESPONSE: &str = r#"{"FailedRecordCount":1,"Records":[
        {"SequenceNumber":"49","ShardId":"shardId-000000000001"},
        { "ShardId" : "shardId-000000000001", "SequenceNumber" : "50", "ErrorCode" : null },
        {"ErrorCode":"InternalFailure","ErrorMessage":"Internal \u00e9rror"}
    ],"EncryptionType":"KMS"}"#;

    fn results(body: Body, response: &[u8]) -> Option<Results> {
        let slot = ResponseSlot::default();
        let read = slot.read(body, response, 3);
        let results = slot.take();
        assert_eq!(results.is_some(), read);
        results
    }

    fn expected(message: &str) -> Results {
        let placement = |number: &str| Ok(Placement::new("shardId-000000000001", number));
        let error = EntryError::new("InternalFailure", message);
        vec![placement("49"), placement("50"), Err(error)]
    }

    #[test]
    fn read_parses_usual_json() {
        let plain = RESPONSE.replace("\\u00e9", "é");
        assert_eq!(results(Body::Json, plain.as_bytes()), Some(expected("Internal érror")));
        assert_eq!(results(Body::Json, br#" {"Records":[]} "#), Some(Vec::new()));
    }

    #[test]
    fn read_rejects_unusual_json() {
        for unusual in [
            RESPONSE,
            "",
            "{}",
            r#"{"Records":null}"#,
            r#"{"Records":[]}{}"#,
            r#"{"Records":[],"New":1}"#,
            r#"{"Records":[{"New":"x"}]}"#,
            r#"{"Records":[{"ShardId":1}]}"#,
            r#"{"Records":[],"FailedRecordCount":1.5}"#,
            r#"{"Records":[{}"#,
            r#"{"Records":[{},]}"#,
        ] {
            assert_eq!(results(Body::Json, unusual.as_bytes()), None, "{unusual}");
        }
        let invalid_utf8 = b"{\"Records\":[{\"ShardId\":\"\xff\",\"SequenceNumber\":\"1\"}]}";
        assert_eq!(results(Body::Json, invalid_utf8), None);
    }

    #[cfg(feature = "cbor")]
    #[test]
    fn read_parses_only_usual_cbor() {
        let value: serde_json::Value = serde_json::from_str(RESPONSE).unwrap();
        let mut response = Vec::new();
        ciborium::into_writer(&value, &mut response).unwrap();
        assert_eq!(results(Body::Cbor, &response), Some(expected("Internal érror")));
        for length in 0..response.len() {
            assert_eq!(results(Body::Cbor, &response[..length]), None, "{length} bytes");
        }
        assert_eq!(results(Body::Cbor, &[&response[..], &[0]].concat()), None);
        let unbounded =
            b"\xbf\x67Records\x9f\xbf\x67ShardId\x61s\x6eSequenceNumber\x611\xff\xff\xff";
        assert_eq!(results(Body::Cbor, unbounded), Some(vec![Ok(Placement::new("s", "1"))]));
        assert_eq!(results(Body::Cbor, b"\xbf\x67Records\x80\x63New\x01\xff"), None);
    }
}
