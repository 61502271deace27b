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
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use bytes_utils::Str;

use super::Body;
use crate::service::response::ResultMembers;
use crate::service::{EntryError, Placement};

type Results = Vec<Result<Placement, EntryError>>;

/// Where the results of a call are left for whoever made it. The SDK's output of that call has none.
#[derive(Debug, Clone, Default)]
pub(in crate::service) struct Answer(Arc<Mutex<Option<Results>>>);

impl Answer {
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

/// The members of a result, as they stand in the answer.
#[derive(Default)]
struct Members<'a> {
    shard_id: Option<&'a str>,
    sequence_number: Option<&'a str>,
    error_code: Option<&'a str>,
    error_message: Option<&'a str>,
}

impl<'a> Members<'a> {
    /// The member with this name. None if there is no such member.
    fn member(&mut self, name: &[u8]) -> Option<&mut Option<&'a str>> {
        match name {
            b"SequenceNumber" => Some(&mut self.sequence_number),
            b"ShardId" => Some(&mut self.shard_id),
            b"ErrorCode" => Some(&mut self.error_code),
            b"ErrorMessage" => Some(&mut self.error_message),
            _ => None,
        }
    }
}

impl ResultsOf<'_> {
    fn push(&mut self, members: &Members<'_>) {
        // A text of the answer, without a copy.
        let slice = |text: &str| Str::try_from(self.answer.slice_ref(text.as_bytes()));
        let members = ResultMembers {
            shard_id: members.shard_id.map(Into::into),
            sequence_number: members
                .sequence_number
                .map(|text| slice(text).unwrap_or_else(|_| text.into())),
            error_code: members.error_code.map(str::to_owned),
            error_message: members.error_message.map(str::to_owned),
        };
        self.results.push(members.into_result());
    }
}
