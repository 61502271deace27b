//! The answer, read into this crate's results instead of the SDK's output.
//!
//! What the service says of an entry is two short texts, or an error. The SDK makes four optional strings
//! of it, by a virtual call for each member; here the answer is copied once, the sequence numbers are
//! slices of the copy, and the ids of shards are short enough to need no memory of their own.
//!
//! An answer that is not of the usual form (members that are not known, escapes in its strings) is left
//! to the SDK.

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

/// Where the results of a call are left for whoever made it. The SDK's output of that call has none.
#[derive(Debug, Clone, Default)]
pub(in crate::service) struct ResponseSlot(Arc<Mutex<Option<Results>>>);

impl ResponseSlot {
    /// The results, unless the SDK has read them.
    pub(in crate::service) fn take(&self) -> Option<Results> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Reads an answer to so many entries. False if it is left to the SDK.
    pub(super) fn read(&self, body: Body, answer: &[u8], entries: usize) -> bool {
        let answer = Bytes::copy_from_slice(answer);
        let mut results = ResultsOf { answer: &answer, results: Vec::with_capacity(entries) };
        let read = match body {
            Body::Json => json::read(&answer, &mut results),
            #[cfg(feature = "cbor")]
            Body::Cbor => cbor::read(&answer, &mut results),
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = read.map(|()| results.results);
        read.is_some()
    }
}

/// The results that are read from this answer.
struct ResultsOf<'a> {
    answer: &'a Bytes,
    results: Results,
}

/// The members of a result, as they stand in the answer. Whether they are text was not looked at.
#[derive(Default)]
struct Members<'a> {
    shard_id: Option<&'a [u8]>,
    sequence_number: Option<&'a [u8]>,
    error_code: Option<&'a [u8]>,
    error_message: Option<&'a [u8]>,
}

impl ResultsOf<'_> {
    /// Adds a result. None if it is not made of text.
    fn push(&mut self, members: &Members<'_>) -> Option<()> {
        let owned = |text: &[u8]| std::str::from_utf8(text).ok().map(str::to_owned);
        // A text of the answer, without a copy.
        let slice = |text: &[u8]| Str::try_from(self.answer.slice_ref(text)).ok();
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
            // Many in a row lie in the same shard.
            Some(Ok(last)) if last.shard_id().as_bytes() == id => Some(last.shard_id.clone()),
            _ => std::str::from_utf8(id).ok().map(SmolStr::new),
        }
    }
}

/// Notes a member, unless it is null. None if it came before: what the SDK makes of that is for the SDK to
/// say.
fn set_once<'a>(member: &mut Option<&'a [u8]>, text: Option<&'a [u8]>) -> Option<()> {
    match text {
        Some(text) => member.replace(text).is_none().then_some(()),
        None => Some(()),
    }
}

/// None if a member that nobody asks for is not made of text, which the SDK does not take.
fn is_text(member: Option<&[u8]>) -> Option<()> {
    member.is_none_or(|text| std::str::from_utf8(text).is_ok()).then_some(())
}

/// What is read of a member that may be missing. None if it cannot be read.
fn optional<T>(text: Option<&[u8]>, read: impl FnOnce(&[u8]) -> Option<T>) -> Option<Option<T>> {
    match text {
        Some(text) => read(text).map(Some),
        None => Some(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = r#"{"FailedRecordCount":1,"Records":[
        {"SequenceNumber":"49","ShardId":"shardId-000000000001"},
        { "ShardId" : "shardId-000000000001", "SequenceNumber" : "50", "ErrorCode" : null },
        {"ErrorCode":"InternalFailure","ErrorMessage":"Internal \u00e9rror"}
    ],"EncryptionType":"KMS"}"#;

    fn results(body: Body, answer: &[u8]) -> Option<Results> {
        let slot = ResponseSlot::default();
        let read = slot.read(body, answer, 3);
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
    fn usual_answers_are_read_here() {
        let plain = ANSWER.replace("\\u00e9", "é");
        assert_eq!(results(Body::Json, plain.as_bytes()), Some(expected("Internal érror")));
        assert_eq!(results(Body::Json, br#" {"Records":[]} "#), Some(Vec::new()));
    }

    #[test]
    fn the_rest_is_left_to_the_sdk() {
        for unusual in [
            ANSWER,
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
        let no_text = b"{\"Records\":[{\"ShardId\":\"\xff\",\"SequenceNumber\":\"1\"}]}";
        assert_eq!(results(Body::Json, no_text), None);
    }

    #[cfg(feature = "cbor")]
    #[test]
    fn so_it_is_in_cbor() {
        let value: serde_json::Value = serde_json::from_str(ANSWER).unwrap();
        let mut answer = Vec::new();
        ciborium::into_writer(&value, &mut answer).unwrap();
        assert_eq!(results(Body::Cbor, &answer), Some(expected("Internal érror")));
        for length in 0..answer.len() {
            assert_eq!(results(Body::Cbor, &answer[..length]), None, "{length} bytes");
        }
        assert_eq!(results(Body::Cbor, &[&answer[..], &[0]].concat()), None);
        let unbounded =
            b"\xbf\x67Records\x9f\xbf\x67ShardId\x61s\x6eSequenceNumber\x611\xff\xff\xff";
        assert_eq!(results(Body::Cbor, unbounded), Some(vec![Ok(Placement::new("s", "1"))]));
        assert_eq!(results(Body::Cbor, b"\xbf\x67Records\x80\x63New\x01\xff"), None);
    }
}
