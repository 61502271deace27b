use std::collections::VecDeque;

use crate::record::{DeadLetter, Reason, Undelivered};

/// The records that failed for good and that nobody has taken yet, each with its place in the order of
/// acceptance.
#[derive(Debug, Default)]
pub(crate) struct Failed {
    /// Not offered to the dead-letter handler so far.
    fresh: VecDeque<(u64, Undelivered)>,
    /// Left here by the handler, or by its absence.
    kept: Vec<(u64, Undelivered)>,
    /// Why the latest of the kept ones failed, until the owner is told.
    untold: Option<Reason>,
    bytes: usize,
}

impl Failed {
    pub(crate) fn push(&mut self, seq: u64, undelivered: Undelivered) {
        self.bytes += undelivered.record.size();
        self.fresh.push_back((seq, undelivered));
    }

    pub(crate) fn len(&self) -> usize {
        self.fresh.len() + self.kept.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &(u64, Undelivered)> {
        self.kept.iter().chain(&self.fresh)
    }

    /// Gives the records that failed since the last call to their receipts, or to `handler` if they have none.
    /// Returns the number of records that neither has taken, which stay here.
    pub(crate) fn offer(&mut self, mut handler: Option<&mut Box<dyn DeadLetter>>) -> usize {
        let kept_before = self.kept.len();
        // One by one: should the handler panic, the others are still here.
        while let Some((seq, undelivered)) = self.fresh.pop_front() {
            self.bytes -= undelivered.record.size();
            let left = match (undelivered.hand_over(), &mut handler) {
                (Ok(()), _) => None,
                (Err(undelivered), Some(handler)) => handler.put(undelivered),
                (Err(undelivered), None) => Some(undelivered),
            };
            if let Some(undelivered) = left {
                self.untold = Some(undelivered.reason.clone());
                self.bytes += undelivered.record.size();
                self.kept.push((seq, undelivered));
            }
        }
        self.kept.len() - kept_before
    }

    /// Takes the reason why the latest of the kept ones failed, so that the owner is notified once.
    pub(crate) fn take_untold(&mut self) -> Option<Reason> {
        self.untold.take()
    }

    /// Why the latest of the kept ones failed.
    pub(crate) fn last_reason(&self) -> Option<&Reason> {
        self.kept.last().map(|(_, undelivered)| &undelivered.reason)
    }

    /// Takes all of them, offered or not, in the order of acceptance.
    pub(crate) fn take_all(&mut self) -> Vec<(u64, Undelivered)> {
        let Self { fresh, mut kept, .. } = std::mem::take(self);
        kept.extend(fresh);
        kept.sort_unstable_by_key(|(seq, _)| *seq);
        kept
    }
}
