//! Fills a request with the oldest entries of all lanes, within their rate limits.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use super::{LaneId, Lanes};
use crate::limits::Limits;
use crate::pipeline::entry::QueuedEntry;

impl Lanes {
    /// Removes and returns the next request's entries, at least one if any [may be sent](Self::front_sendable).
    pub(crate) fn next_batch(&mut self, limits: &Limits, now: Instant) -> Vec<QueuedEntry> {
        let entries = limits.request_entries();
        let mut remaining = Remaining { entries, bytes: limits.request_bytes(), is_whole: true };
        let mut taken = Vec::with_capacity(self.total.entries.min(entries));
        self.take_from_ready(&mut remaining, &mut taken, now);
        self.take_from_paused(&mut remaining, &mut taken, now);
        taken.sort_unstable_by_key(QueuedEntry::seq);
        taken
    }

    fn take_from_ready(
        &mut self,
        remaining: &mut Remaining,
        taken: &mut Vec<QueuedEntry>,
        now: Instant,
    ) {
        let mut opened = Vec::new();
        let mut heads: BinaryHeap<Reverse<(u64, LaneId)>> = BinaryHeap::new();
        loop {
            // A lane is visited only when its oldest record is the oldest of all lanes.
            let next = self.ready.first_key_value().map(|(seq, id)| (*seq, *id));
            let opens = next.filter(|next| heads.peek().is_none_or(|Reverse(head)| next < head));
            let id = match (opens, heads.peek()) {
                (Some((_, id)), _) => {
                    self.detach(id);
                    self.lanes.activate(id).limiter.refill(now);
                    opened.push(id);
                    id
                }
                (None, Some(Reverse((_, id)))) => {
                    let id = *id;
                    heads.pop();
                    id
                }
                (None, None) => break,
            };
            let other = self.ready.first_key_value().map_or(u64::MAX, |(seq, _)| *seq);
            let other = heads.peek().map_or(other, |Reverse((head, _))| other.min(*head));
            let lane = self.lanes.activate(id);
            lane.take_while(|oldest, size| oldest.seq < other && remaining.take(size), taken);
            match lane.head() {
                Some(head) if lane.has_tokens() && head < other => break,
                Some(head) if lane.has_tokens() => heads.push(Reverse((head, id))),
                _ => {}
            }
        }
        for id in opened {
            self.lanes.activate(id).update_pause(now);
            self.attach(id);
        }
    }

    /// Fills the rest of the request from paused lanes that have tokens. Lanes that share a request tend to become
    /// ready at the same time, which keeps later requests full.
    fn take_from_paused(
        &mut self,
        remaining: &mut Remaining,
        taken: &mut Vec<QueuedEntry>,
        now: Instant,
    ) {
        if taken.is_empty() {
            return;
        }
        // Each of these lanes has an entry, so it is enough to visit as many lanes as entries still fit.
        let affordable = self.affordable.range(..=(Some(now), u64::MAX)).take(remaining.entries);
        let mut oldest_first: Vec<_> = affordable.map(|((_, head), id)| (*head, *id)).collect();
        oldest_first.sort_unstable();
        for (_, id) in oldest_first {
            if remaining.entries == 0 {
                return;
            }
            self.detach(id);
            let lane = self.lanes.activate(id);
            lane.limiter.refill(now);
            lane.take_while(|_, size| remaining.take(size), taken);
            lane.update_pause(now);
            self.attach(id);
        }
    }
}

struct Remaining {
    entries: usize,
    bytes: usize,
    is_whole: bool,
}

impl Remaining {
    /// Reserves capacity for an entry. Returns `false` if the entry does not fit. The first entry always fits.
    fn take(&mut self, size: usize) -> bool {
        let fits = self.is_whole || (self.entries > 0 && size <= self.bytes);
        if fits {
            self.entries = self.entries.saturating_sub(1);
            self.bytes = self.bytes.saturating_sub(size);
            self.is_whole = false;
        }
        fits
    }
}
