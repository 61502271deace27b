use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::buffered::BufferedRecord;
use super::entry::QueuedEntry;
use super::ledger::Ledger;
use crate::record::{AttemptError, FailureReason, PendingReceipt, SharedHandler, Undelivered};
use crate::service::Placement;
use crate::stream::StreamId;

/// Delivered and failed records whose outcomes have not been reported yet.
#[derive(Debug)]
pub(crate) struct Settlement {
    stream: StreamId,
    delivered: VecDeque<PendingReceipt>,
    /// `None` if no record has failed.
    failed: Option<Box<Failed>>,
}

#[derive(Debug, Default)]
struct Failed {
    /// Records not yet offered to their receipts or the dead-letter handler, with their sequence numbers.
    unoffered: VecDeque<(u64, Undelivered)>,
    /// Records that stay in the buffer until the owner takes them.
    kept: Vec<(u64, Undelivered)>,
    /// Latest failure reason of which the owner has not been notified yet.
    unreported: Option<FailureReason>,
}

impl Settlement {
    pub(super) fn new(stream: StreamId) -> Self {
        Self { stream, delivered: VecDeque::new(), failed: None }
    }

    pub(super) fn deliver(
        &mut self,
        entry: &mut QueuedEntry,
        placement: Placement,
        ledger: &mut Ledger,
        now: Instant,
    ) {
        ledger.count_entry(entry.size());
        if entry.is_aggregate() {
            for (index, record) in entry.members_mut().iter_mut().enumerate() {
                self.deliver_record(record, || placement.clone(), Some(index as u64), ledger, now);
            }
        } else {
            self.deliver_record(&mut entry.members_mut()[0], || placement, None, ledger, now);
        }
    }

    fn deliver_record(
        &mut self,
        record: &mut BufferedRecord,
        placement: impl FnOnce() -> Placement,
        sub_sequence_number: Option<u64>,
        ledger: &mut Ledger,
        now: Instant,
    ) {
        ledger.count_delivered(record, now);
        if let Some(receipt) = record.delivered(placement, sub_sequence_number, now) {
            self.delivered.push_back(receipt);
        }
    }

    pub(super) fn fail(
        &mut self,
        record: BufferedRecord,
        reason: FailureReason,
        ledger: &mut Ledger,
    ) {
        ledger.count_failed(&record, &reason);
        let failed = (record.seq, record.into_undelivered(reason, &self.stream));
        self.failed.get_or_insert_default().unoffered.push_back(failed);
    }

    pub(crate) fn notify(&mut self) {
        for receipt in self.delivered.drain(..) {
            receipt.complete();
        }
    }

    /// Offers the failed records to their receipts or to `handler`. Returns the number that stay in the buffer.
    pub(super) fn offer_failed(
        &mut self,
        handler: Option<&SharedHandler>,
        ledger: &mut Ledger,
    ) -> usize {
        let Some(failed) = &mut self.failed else { return 0 };
        let kept_before = failed.kept.len();
        // Records are taken one at a time, so that the others are kept if the handler panics.
        while let Some((seq, undelivered)) = failed.unoffered.pop_front() {
            let bytes = undelivered.record.size();
            ledger.count_taken(bytes);
            let left = match (undelivered.hand_over(), handler) {
                (Ok(()), _) => None,
                (Err(undelivered), Some(handler)) => handler.put(undelivered),
                (Err(undelivered), None) => Some(undelivered),
            };
            match left {
                Some(undelivered) => {
                    ledger.count_kept(undelivered.record.size());
                    failed.unreported = Some(undelivered.reason.clone());
                    failed.kept.push((seq, undelivered));
                }
                None => ledger.count_departed(seq),
            }
        }
        failed.kept.len() - kept_before
    }

    /// Releases unused memory.
    pub(super) fn rest(&mut self) {
        self.delivered.shrink_to_fit();
        self.failed.take_if(|failed| {
            failed.unoffered.is_empty() && failed.kept.is_empty() && failed.unreported.is_none()
        });
    }

    pub(crate) fn take_unreported_failure(&mut self) -> Option<FailureReason> {
        self.failed.as_mut()?.unreported.take()
    }

    pub(crate) fn last_failure(&self) -> Option<&FailureReason> {
        self.failed.as_ref()?.kept.last().map(|(_, undelivered)| &undelivered.reason)
    }

    pub(super) fn failed(&self) -> impl Iterator<Item = &(u64, Undelivered)> {
        self.failed.iter().flat_map(|failed| failed.kept.iter().chain(&failed.unoffered))
    }

    pub(super) fn take_failed(&mut self, ledger: &mut Ledger) -> Vec<Undelivered> {
        self.withdraw(Vec::new(), |last| FailureReason::Withdrawn { last }, ledger)
    }

    /// Takes the failed records and withdraws the `unsettled` ones, in the order of acceptance.
    pub(super) fn withdraw(
        &mut self,
        unsettled: Vec<BufferedRecord>,
        reason: impl Fn(Option<Arc<AttemptError>>) -> FailureReason,
        ledger: &mut Ledger,
    ) -> Vec<Undelivered> {
        let Failed { unoffered, kept: mut taken, .. } =
            self.failed.take().map(|failed| *failed).unwrap_or_default();
        taken.extend(unoffered);
        for (seq, undelivered) in &taken {
            ledger.count_taken(undelivered.record.size());
            ledger.count_departed(*seq);
        }
        taken.extend(self.withdrawn(unsettled, reason, ledger));
        taken.sort_unstable_by_key(|(seq, _)| *seq);
        taken.into_iter().map(|(_, undelivered)| undelivered).collect()
    }

    /// Withdraws unsettled records, and leaves the failed ones.
    #[cfg(feature = "spool")]
    pub(super) fn withdraw_unsettled(
        &mut self,
        unsettled: Vec<BufferedRecord>,
        reason: impl Fn(Option<Arc<AttemptError>>) -> FailureReason,
        ledger: &mut Ledger,
    ) -> Vec<Undelivered> {
        self.withdrawn(unsettled, reason, ledger)
            .into_iter()
            .map(|(_, undelivered)| undelivered)
            .collect()
    }

    fn withdrawn(
        &self,
        unsettled: Vec<BufferedRecord>,
        reason: impl Fn(Option<Arc<AttemptError>>) -> FailureReason,
        ledger: &mut Ledger,
    ) -> Vec<(u64, Undelivered)> {
        let withdraw = |mut record: BufferedRecord| {
            ledger.count_withdrawn(&record);
            let last = record.last_error.take();
            (record.seq, record.into_undelivered(reason(last), &self.stream))
        };
        unsettled.into_iter().map(withdraw).collect()
    }
}
