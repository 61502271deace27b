use std::collections::VecDeque;

use crate::undelivered::{DeadLetter, Reason, Undelivered};

/// The records that failed for good and that nobody has taken yet, with their place in the order of
/// acceptance.
#[derive(Debug, Default)]
pub(crate) struct Failed {
    records: VecDeque<(u64, Undelivered)>,
    /// So many of them, from the front, were offered to the dead-letter handler and reported.
    offered: usize,
    bytes: usize,
}

impl Failed {
    pub(crate) fn push(&mut self, seq: u64, undelivered: Undelivered) {
        self.bytes += undelivered.record.size();
        self.records.push_back((seq, undelivered));
    }

    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &(u64, Undelivered)> {
        self.records.iter()
    }

    /// Offers what failed since the last call to `handler`. What it does not take stays here; the
    /// answer is the reason of the last such record.
    pub(crate) fn offer(
        &mut self,
        mut handler: Option<&mut Box<dyn DeadLetter>>,
    ) -> Option<Reason> {
        let mut kept = None;
        for (seq, undelivered) in self.records.split_off(self.offered) {
            self.bytes -= undelivered.record.size();
            let left = match &mut handler {
                Some(handler) => handler.put(undelivered),
                None => Some(undelivered),
            };
            if let Some(undelivered) = left {
                kept = Some(undelivered.reason.clone());
                self.push(seq, undelivered);
            }
        }
        self.offered = self.records.len();
        kept
    }

    /// Why the latest of them failed.
    pub(crate) fn last_reason(&self) -> Option<&Reason> {
        self.records.back().map(|(_, undelivered)| &undelivered.reason)
    }

    /// Takes all of them, offered or not.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = (u64, Undelivered)> {
        std::mem::take(self).records.into_iter()
    }
}
