use std::collections::BTreeMap;
use std::time::Instant;

use super::entry::QueuedEntry;
use super::flush::FlushReason;
use super::ledger::Size;
use crate::record::AttemptError;
use crate::service::{ErrorCount, PutRecordsRequest};
use crate::status::RequestSummary;
use crate::stream::StreamId;

/// Id of a request. Later requests have greater ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RequestId(pub(super) u64);

#[derive(Debug)]
pub(super) struct InFlightRequest {
    pub(super) entries: Vec<QueuedEntry>,
    pub(super) records: usize,
    record_bytes: usize,
    pub(super) bytes: usize,
    pub(super) sent_at: Instant,
    pub(super) kind: RequestKind,
    pub(super) timeout_factor: u32,
}

/// Origin of the entries of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestKind {
    Lanes,
    Bisected,
    Isolated,
}

impl InFlightRequest {
    pub(super) fn new(
        mut entries: Vec<QueuedEntry>,
        reason: FlushReason,
        timeout_factor: u32,
        now: Instant,
    ) -> Self {
        for entry in &mut entries {
            entry.count_attempt();
        }
        let kind = match reason {
            FlushReason::Bisected => RequestKind::Bisected,
            FlushReason::Isolated => RequestKind::Isolated,
            _ => RequestKind::Lanes,
        };
        let records = entries.iter().map(QueuedEntry::len).sum();
        let record_bytes = entries.iter().map(QueuedEntry::record_bytes).sum();
        Self { entries, records, record_bytes, bytes: 0, sent_at: now, kind, timeout_factor }
    }

    fn size(&self) -> Size {
        Size { records: self.records, bytes: self.record_bytes }
    }

    pub(super) fn failed_summary(&self, error: &AttemptError) -> RequestSummary {
        let entries = self.entries.len();
        RequestSummary {
            records: self.records,
            entries,
            bytes: self.bytes,
            delivered: 0,
            errors: vec![ErrorCount {
                code: error.code.clone(),
                message: error.message.clone(),
                count: entries,
            }],
        }
    }
}

/// Completion of a request. A component stores `next` whenever it applies an outcome. If `request` is lower than the
/// stored number, the request was sent before that change, so its outcome is outdated.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Completion {
    pub(crate) request: u64,
    /// Number of the next request to be sent.
    pub(crate) next: u64,
    pub(crate) now: Instant,
}

#[derive(Debug)]
pub(super) struct InFlight {
    stream: StreamId,
    requests: BTreeMap<RequestId, InFlightRequest>,
    next: u64,
    size: Size,
}

impl InFlight {
    pub(super) fn new(stream: StreamId) -> Self {
        Self { stream, requests: BTreeMap::new(), next: 0, size: Size::default() }
    }

    pub(super) fn stream(&self) -> &StreamId {
        &self.stream
    }

    pub(super) fn next_number(&self) -> u64 {
        self.next
    }

    pub(super) fn start(&mut self, mut request: InFlightRequest) -> (RequestId, PutRecordsRequest) {
        let entries: Vec<_> = request.entries.iter_mut().map(QueuedEntry::build_entry).collect();
        let built = PutRecordsRequest::new(self.stream.clone(), entries)
            .with_timeout_factor(request.timeout_factor);
        request.bytes = built.bytes();
        let id = RequestId(self.next);
        self.next += 1;
        self.size += request.size();
        self.requests.insert(id, request);
        (id, built)
    }

    /// Removes and returns a request. Returns `None` if the request is already settled or withdrawn.
    pub(super) fn finish(&mut self, id: RequestId) -> Option<InFlightRequest> {
        let request = self.requests.remove(&id)?;
        self.size -= request.size();
        Some(request)
    }

    /// Releases the memory if no request is in flight. An empty map keeps a node.
    pub(super) fn rest(&mut self) {
        if self.is_empty() {
            self.requests = BTreeMap::new();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    pub(super) fn size(&self) -> Size {
        self.size
    }

    pub(super) fn has_unisolated(&self) -> bool {
        self.requests.values().any(|request| request.kind != RequestKind::Isolated)
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &QueuedEntry> {
        self.requests.values().flat_map(|request| &request.entries)
    }

    pub(super) fn isolated_mut(&mut self) -> impl Iterator<Item = &mut QueuedEntry> {
        let is_isolated = |request: &&mut InFlightRequest| request.kind == RequestKind::Isolated;
        self.requests.values_mut().filter(is_isolated).flat_map(|request| &mut request.entries)
    }

    pub(super) fn first_entries(&self) -> impl Iterator<Item = &QueuedEntry> {
        self.requests.values().filter_map(|request| request.entries.first())
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = QueuedEntry> + use<> {
        self.size = Size::default();
        std::mem::take(&mut self.requests).into_values().flat_map(|request| request.entries)
    }
}

#[cfg(test)]
impl InFlight {
    pub(super) fn contains(&self, id: RequestId) -> bool {
        self.requests.contains_key(&id)
    }

    pub(super) fn get(&self, id: RequestId) -> &InFlightRequest {
        &self.requests[&id]
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = RequestId> {
        self.requests.keys().copied()
    }
}
