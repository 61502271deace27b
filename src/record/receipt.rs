use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use smol_str::SmolStr;
use tokio::sync::oneshot;

use super::{Attempt, AttemptError, FailureReason, Record, Undelivered};
use crate::stream::StreamId;

/// What became of one record: a future that is ready when the record is settled.
///
/// It comes from [`Record::tracked`] or from [`Producer::put`](crate::Producer::put). It ends in
///
/// - [`Delivery`] once the service has confirmed the record;
/// - [`Undelivered`], with the record itself, the reason and the history of attempts, if it failed for
///   good, was taken back, or was given up with its sink. A record that failed for good belongs to the
///   receipt's holder from then on, and goes neither to the dead-letter handler nor into
///   [`take_failed`](crate::KinesisSink::take_failed).
///
/// A receipt always ends: at the latest when its record is dropped, by whatever it was that held it.
/// How long that takes is up to the sink's deadline and limit for attempts: without them a record is
/// tried until it arrives.
///
/// ```
/// use kinesis_sink::{Receipt, Record};
///
/// # async fn example() {
/// let (record, receipt): (Record, Receipt) = Record::from("a line").tracked();
/// // .. send the record into a sink ..
/// # drop(record);
/// match receipt.await {
///     Ok(delivery) => println!("{} {}", delivery.shard_id(), delivery.sequence_number()),
///     Err(undelivered) => println!("{}", undelivered.reason()),
/// }
/// # }
/// # tokio_test::block_on(example());
/// ```
///
/// # Panics
///
/// When it is polled again after it was ready.
///
/// # Cancel safety
///
/// Dropping a receipt changes nothing for its record, which then counts as one without a receipt.
/// Waiting for `&mut receipt` loses nothing when that wait is dropped.
#[must_use = "a receipt that is not awaited tells nothing"]
pub struct Receipt(oneshot::Receiver<Outcome>);

type Outcome = Result<Delivery, Box<Undelivered>>;

impl Future for Receipt {
    type Output = Result<Delivery, Undelivered>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|outcome| {
            let outcome = outcome.expect("a record tells its receipt before it goes");
            outcome.map_err(|undelivered| *undelivered)
        })
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receipt").finish_non_exhaustive()
    }
}

/// The position of a delivered record, and its attempts and times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    pub(crate) shard_id: SmolStr,
    pub(crate) sequence_number: String,
    pub(crate) sub_sequence_number: Option<u64>,
    pub(crate) attempts: u32,
    pub(crate) time_in_buffer: Duration,
    pub(crate) time_in_flight: Duration,
}

impl Delivery {
    /// The id of the shard that holds the record.
    #[must_use]
    pub fn shard_id(&self) -> &str {
        &self.shard_id
    }

    /// The sequence number in its shard: the record's own or, of a record that went out in an aggregate,
    /// that of the aggregate, which all of its members share.
    #[must_use]
    pub fn sequence_number(&self) -> &str {
        &self.sequence_number
    }

    /// The record's place in its aggregate, from 0. None if it went out by itself. Consumers of KPL
    /// records call it so; with the sequence number it names the record.
    #[must_use]
    pub fn sub_sequence_number(&self) -> Option<u64> {
        self.sub_sequence_number
    }

    /// How many requests carried the record, the successful one included; counted as in
    /// [`Undelivered::attempts`].
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// How long the record waited in the sink, between its attempts too.
    #[must_use]
    pub fn time_in_buffer(&self) -> Duration {
        self.time_in_buffer
    }

    /// How long requests that carried the record were under way, failed ones included. Together with
    /// [`time_in_buffer`](Self::time_in_buffer) this is the time from acceptance to delivery.
    #[must_use]
    pub fn time_in_flight(&self) -> Duration {
        self.time_in_flight
    }
}

/// The other end of a receipt. It travels inside the record.
#[derive(Debug)]
pub(crate) struct Tracker {
    settled: oneshot::Sender<Outcome>,
    /// The stream of the sink that has accepted the record.
    pub(crate) stream: Option<StreamId>,
    /// How long finished requests with the record were under way.
    pub(crate) time_in_flight: Duration,
    history: Vec<Attempt>,
}

impl Tracker {
    /// As many failed attempts are kept. A record can be tried for days.
    const HISTORY: usize = 16;

    pub(super) fn new() -> (Self, Receipt) {
        let (settled, receipt) = oneshot::channel();
        let history = Vec::new();
        let time_in_flight = Duration::ZERO;
        (Self { settled, stream: None, time_in_flight, history }, Receipt(receipt))
    }

    /// Notes a failed attempt, with the time since the record was accepted.
    pub(crate) fn note(&mut self, since_accepted: Duration, error: Arc<AttemptError>) {
        if self.history.len() == Self::HISTORY {
            self.history.remove(0);
        }
        self.history.push(Attempt { since_accepted, error });
    }

    pub(crate) fn take_history(&mut self) -> Vec<Attempt> {
        std::mem::take(&mut self.history)
    }

    /// Completes the receipt of a record that was dropped without an outcome.
    pub(super) fn record_dropped(mut self, record: Record) {
        let history = self.take_history();
        let last = history.last().map(|attempt| attempt.error.clone());
        let stream = self.stream.take();
        let may_have_been_written = stream.is_some();
        let reason = if stream.is_some() {
            FailureReason::Abandoned { last }
        } else {
            FailureReason::NeverAccepted
        };
        let attempts = history.len() as u32;
        let undelivered = Undelivered {
            record,
            stream,
            reason,
            attempts,
            may_have_been_written,
            history: history.into(),
        };
        // The receipt may have been dropped.
        let _ = self.hand_over(undelivered);
    }

    /// Hands the record to the receipt. Returns it if the receipt was dropped.
    pub(crate) fn hand_over(self, undelivered: Undelivered) -> Result<(), Undelivered> {
        match self.settle(Err(Box::new(undelivered))) {
            Err(Err(undelivered)) => Err(*undelivered),
            _ => Ok(()),
        }
    }

    /// Completes the receipt. Returns the outcome if the receipt was dropped.
    fn settle(self, outcome: Outcome) -> Result<(), Outcome> {
        self.settled.send(outcome)
    }
}

/// A delivery that was not reported to the receipt of its record. Dropping this reports it.
#[derive(Debug)]
pub(crate) struct PendingReceipt(Option<(Tracker, Delivery)>);

impl PendingReceipt {
    pub(crate) fn new(tracker: Tracker, delivery: Delivery) -> Self {
        Self(Some((tracker, delivery)))
    }
}

impl PendingReceipt {
    /// Completes the receipt.
    pub(crate) fn complete(mut self) {
        self.complete_once();
    }

    fn complete_once(&mut self) {
        if let Some((tracker, delivery)) = self.0.take() {
            // The receipt may have been dropped.
            let _ = tracker.settle(Ok(delivery));
        }
    }
}

impl Drop for PendingReceipt {
    fn drop(&mut self) {
        self.complete_once();
    }
}

impl Undelivered {
    /// Gives it to the holder of its record's receipt. It comes back if there is none.
    pub(crate) fn hand_over(mut self) -> Result<(), Self> {
        match self.record.take_tracker() {
            Some(tracker) => tracker.hand_over(self),
            None => Err(self),
        }
    }

    /// Completes the receipt, if there is one, of a record that is handed back to the owner of the sink.
    pub(crate) fn complete_receipt(&mut self) {
        if let Some(tracker) = self.record.take_tracker() {
            // The owner has it in any case.
            let _ = tracker.hand_over(self.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn settled(receipt: Receipt) -> Undelivered {
        receipt.now_or_never().expect("it is ready").expect_err("it was not delivered")
    }

    #[test]
    fn a_record_that_is_dropped_before_it_is_sent_comes_back_through_its_receipt() {
        let (record, receipt) = Record::from(("key", "data")).tracked();
        drop(record);
        let undelivered = settled(receipt);
        assert_eq!(undelivered.reason(), &FailureReason::NeverAccepted);
        assert!(!undelivered.may_have_been_written());
        assert_eq!(undelivered.into_record(), Record::from(("key", "data")));
    }

    #[test]
    fn payload_and_settings_come_through_a_tracked_record() {
        let (record, receipt) = Record::from("data").tracked();
        let record = record.with_partition_key("later").with_explicit_hash_key(7_u128);
        assert_eq!(record.explicit_hash_key().unwrap().get(), 7);
        drop(record);
        let back = settled(receipt).into_record();
        assert_eq!(back.partition_key(), &"later".into());
        assert_eq!(back.explicit_hash_key().unwrap().get(), 7);
        let (record, receipt) = back.tracked();
        assert_eq!(record.into_data(), "data");
        assert_eq!(settled(receipt).record().data(), "", "its data was taken out");
    }

    #[test]
    fn a_clone_has_no_receipt() {
        let (record, mut receipt) = Record::from("data").tracked();
        let copy = record.clone();
        assert_eq!(copy, record);
        drop(copy);
        assert!((&mut receipt).now_or_never().is_none());
        drop(record);
        settled(receipt);
    }

    #[test]
    fn a_second_receipt_ends_the_first() {
        let (record, first) = Record::from("data").tracked();
        let (record, second) = record.tracked();
        assert_eq!(settled(first).record().data(), "data");
        drop(record);
        assert_eq!(settled(second).record().data(), "data");
    }

    #[test]
    fn the_history_is_bounded() {
        let (mut tracker, _receipt) = Tracker::new();
        for n in 0..100 {
            let error = AttemptError { code: n.to_string(), message: String::new() };
            tracker.note(Duration::from_secs(n), Arc::new(error));
        }
        let history = tracker.take_history();
        assert_eq!(history.len(), 16);
        assert_eq!((history[0].error().code(), history[15].error().code()), ("84", "99"));
        assert_eq!(history[15].since_accepted(), Duration::from_secs(99));
    }
}
