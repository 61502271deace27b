use std::collections::VecDeque;
use std::time::Instant;

use super::lanes::Lanes;
use crate::pipeline::buffered::BufferedRecord;
use crate::pipeline::entry::QueuedEntry;

/// Parts of bisected requests. A request is bisected if it was rejected or has failed repeatedly. Each part is sent as
/// a separate request to find the poison record.
#[derive(Debug, Default)]
pub(super) struct Bisection {
    parts: VecDeque<Vec<QueuedEntry>>,
}

impl Bisection {
    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    pub(super) fn records(&self) -> usize {
        self.iter().map(QueuedEntry::len).sum()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &QueuedEntry> {
        self.parts.iter().flatten()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut QueuedEntry> {
        self.parts.iter_mut().flatten()
    }

    pub(super) fn heads(&self) -> impl Iterator<Item = &BufferedRecord> {
        self.parts.iter().filter_map(|part| part.first()).map(QueuedEntry::oldest)
    }

    pub(super) fn push_front(&mut self, mut part: Vec<QueuedEntry>) {
        // An entry that has lost its oldest record can be out of order.
        part.sort_by_key(QueuedEntry::seq);
        if !part.is_empty() {
            self.parts.push_front(part);
        }
    }

    pub(super) fn is_ready(&self, lanes: &Lanes, now: Instant) -> bool {
        self.next(lanes, now).is_some()
    }

    pub(super) fn pop(&mut self, lanes: &Lanes, now: Instant) -> Option<Vec<QueuedEntry>> {
        self.parts.remove(self.next(lanes, now)?)
    }

    fn next(&self, lanes: &Lanes, now: Instant) -> Option<usize> {
        self.parts.iter().position(|part| waits_until(part, lanes, now).is_none())
    }

    pub(super) fn wakeup(&self, lanes: &Lanes, now: Instant) -> Option<Instant> {
        self.parts.iter().filter_map(|part| waits_until(part, lanes, now)).min()
    }

    pub(super) fn extract_if(
        &mut self,
        condition: impl Fn(&mut QueuedEntry) -> bool,
    ) -> Vec<QueuedEntry> {
        let mut extracted = Vec::new();
        for part in &mut self.parts {
            extracted.extend(part.extract_if(.., |entry| condition(entry)));
        }
        self.parts.retain(|part| !part.is_empty());
        extracted
    }

    pub(super) fn replace_each(&mut self, mut left: impl FnMut(QueuedEntry) -> Vec<QueuedEntry>) {
        for part in std::mem::take(&mut self.parts).into_iter().rev() {
            self.push_front(part.into_iter().flat_map(&mut left).collect());
        }
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = QueuedEntry> + use<> {
        std::mem::take(&mut self.parts).into_iter().flatten()
    }
}

/// Returns the time at which the last backoff among the lanes of `part` ends. Tokens are not checked, because the
/// original request has already taken them.
fn waits_until(part: &[QueuedEntry], lanes: &Lanes, now: Instant) -> Option<Instant> {
    part.iter().filter_map(|entry| lanes.backs_off_until(entry.route.lane, now)).max()
}
