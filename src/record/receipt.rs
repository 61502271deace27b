use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::FusedFuture;
use smol_str::SmolStr;
use tokio::sync::oneshot;

use super::{Attempt, AttemptError, FailureReason, Record, Undelivered};
use crate::stream::StreamId;

/// Future that completes with the outcome of one record when the record is settled.
///
/// Receipts are returned by [`Record::tracked`] and [`Producer::put`](crate::Producer::put). The outcome is
///
/// - a [`Delivery`] if the service has confirmed the record;
/// - an [`Undelivered`] if the record failed permanently, was withdrawn, or was abandoned when its sink was dropped. It
///   contains the record, the reason, and the history of attempts.
///
/// A permanently failed record is returned only by its receipt. It is not passed to the dead-letter handler, and
/// [`take_failed`](crate::KinesisSink::take_failed) does not return it.
///
/// A receipt always completes, at the latest when its record is dropped. If neither a
/// [deadline](crate::Settings::deadline) nor a [maximum number of attempts](crate::Settings::max_attempts) is set, the
/// sink retries the record until it is delivered or rejected.
///
/// A receipt implements [`FusedFuture`], so it can be used in `futures::select!`. Use
/// [`try_outcome`](Self::try_outcome) to take the outcome without waiting.
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
/// Polling a receipt panics if an earlier poll or [`try_outcome`](Self::try_outcome) has taken the outcome.
///
/// # Cancel safety
///
/// If a receipt is dropped, its record is still sent, and is handled like a record without a receipt. Dropping a future
/// that polls `&mut receipt`, for example in `select!`, does not lose the outcome.
#[must_use = "a receipt reports nothing unless it is polled or queried"]
pub struct Receipt(oneshot::Receiver<Outcome>);

type Outcome = Result<Delivery, Box<Undelivered>>;

impl Receipt {
    /// Takes the outcome if the record is settled.
    ///
    /// Returns `None` if the record is not settled or the outcome has already been taken. Unlike a poll, this method
    /// does not register a waker and does not use tokio's [cooperative budget](tokio::task::coop).
    ///
    /// ```
    /// use kinesis_sink::Record;
    ///
    /// let (record, mut receipt) = Record::from("a line").tracked();
    /// assert!(!receipt.is_settled());
    /// assert!(receipt.try_outcome().is_none());
    ///
    /// drop(record);
    /// assert!(receipt.is_settled());
    /// let undelivered = receipt.try_outcome().unwrap().unwrap_err();
    /// assert_eq!(undelivered.record().data(), "a line");
    /// ```
    pub fn try_outcome(&mut self) -> Option<Result<Delivery, Undelivered>> {
        self.0.try_recv().ok().map(unbox)
    }

    /// Returns `true` if the record is settled: delivered, failed, withdrawn, or abandoned.
    ///
    /// This method returns `true` even after the outcome has been taken, and does not use tokio's
    /// [cooperative budget](tokio::task::coop).
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.0.is_terminated() || !self.0.is_empty()
    }
}

fn unbox(outcome: Outcome) -> Result<Delivery, Undelivered> {
    outcome.map_err(|undelivered| *undelivered)
}

impl Future for Receipt {
    type Output = Result<Delivery, Undelivered>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        assert!(!self.0.is_terminated(), "`Receipt` polled after completion");
        Pin::new(&mut self.0).poll(cx).map(|outcome| {
            unbox(outcome.expect("a record completes its receipt when it is dropped"))
        })
    }
}

impl FusedFuture for Receipt {
    /// Returns `true` if the outcome has been taken.
    fn is_terminated(&self) -> bool {
        self.0.is_terminated()
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receipt").finish_non_exhaustive()
    }
}

/// Position of a delivered record in the stream, its number of attempts, and the duration of the delivery.
///
/// With the feature `serde`, a delivery can be serialized and deserialized. Durations are strings such as `"1s 500ms"`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields)
)]
pub struct Delivery {
    pub(crate) shard_id: SmolStr,
    pub(crate) sequence_number: String,
    #[cfg_attr(feature = "serde", serde(default))]
    pub(crate) sub_sequence_number: Option<u64>,
    pub(crate) attempts: u32,
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub(crate) time_in_buffer: Duration,
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub(crate) time_in_flight: Duration,
}

impl Delivery {
    /// Returns the id of the shard that contains the record.
    #[must_use]
    pub fn shard_id(&self) -> &str {
        &self.shard_id
    }

    /// Returns the sequence number of the Kinesis record. All records of an aggregate have the same sequence number.
    #[must_use]
    pub fn sequence_number(&self) -> &str {
        &self.sequence_number
    }

    /// Returns the index of the record in its aggregate, starting at 0. Returns `None` if the record was not
    /// aggregated.
    ///
    /// The index and the sequence number together identify the record, as in consumers of KPL records.
    #[must_use]
    pub fn sub_sequence_number(&self) -> Option<u64> {
        self.sub_sequence_number
    }

    /// Returns the number of requests that contained the record, including the successful request.
    ///
    /// [`Undelivered::attempts`] documents which requests are counted.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Returns the total time for which the record was queued, before and between its attempts.
    #[must_use]
    pub fn time_in_buffer(&self) -> Duration {
        self.time_in_buffer
    }

    /// Returns the total time for which the record was in flight, including failed attempts.
    ///
    /// The sum of this time and [`time_in_buffer`](Self::time_in_buffer) is the time from acceptance to delivery.
    #[must_use]
    pub fn time_in_flight(&self) -> Duration {
        self.time_in_flight
    }
}

/// Part of a record that collects its history and sends the outcome to its receipt.
#[derive(Debug)]
pub(crate) struct Tracker {
    settled: oneshot::Sender<Outcome>,
    /// Stream of the sink that accepted the record.
    pub(crate) stream: Option<StreamId>,
    /// Total time of the completed attempts.
    pub(crate) time_in_flight: Duration,
    history: Vec<Attempt>,
}

impl Tracker {
    /// Maximum number of attempts in the history. It limits the memory for a record that is retried for days.
    const MAX_HISTORY: usize = 16;

    pub(super) fn new() -> (Self, Receipt) {
        let (settled, receipt) = oneshot::channel();
        let history = Vec::new();
        let time_in_flight = Duration::ZERO;
        (Self { settled, stream: None, time_in_flight, history }, Receipt(receipt))
    }

    pub(crate) fn record_attempt(&mut self, since_accepted: Duration, error: Arc<AttemptError>) {
        if self.history.len() == Self::MAX_HISTORY {
            self.history.remove(0);
        }
        self.history.push(Attempt { since_accepted, error });
    }

    pub(crate) fn take_history(&mut self) -> Vec<Attempt> {
        std::mem::take(&mut self.history)
    }

    /// Completes the receipt of a record that was dropped before it was settled.
    pub(super) fn record_dropped(mut self, record: Record) {
        let history = self.take_history();
        let last = history.last().map(|attempt| attempt.error.clone());
        let stream = self.stream.take();
        let may_have_been_written = stream.is_some();
        let reason = if stream.is_some() {
            FailureReason::Abandoned { last }
        } else {
            FailureReason::Dropped
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

    /// Returns `true` if the receipt was dropped.
    #[cfg(feature = "spool")]
    pub(crate) fn is_abandoned(&self) -> bool {
        self.settled.is_closed()
    }

    /// Completes the receipt of a record that is not in a sink.
    #[cfg(feature = "spool")]
    pub(crate) fn fail(self, record: Record, stream: StreamId, reason: FailureReason) {
        // The receipt may have been dropped.
        let _ = self.hand_over(Undelivered::unsent(record, stream, reason));
    }

    /// Completes the receipt. Returns the record if the receipt was dropped.
    pub(crate) fn hand_over(self, undelivered: Undelivered) -> Result<(), Undelivered> {
        match self.settle(Err(Box::new(undelivered))) {
            Err(Err(undelivered)) => Err(*undelivered),
            _ => Ok(()),
        }
    }

    fn settle(self, outcome: Outcome) -> Result<(), Outcome> {
        self.settled.send(outcome)
    }
}

/// Delivery of a record whose receipt has not been completed yet. Dropping this value completes the receipt.
#[derive(Debug)]
pub(crate) struct PendingReceipt(Option<(Tracker, Delivery)>);

impl PendingReceipt {
    pub(crate) fn new(tracker: Tracker, delivery: Delivery) -> Self {
        Self(Some((tracker, delivery)))
    }
}

impl PendingReceipt {
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
    /// Completes the receipt of the record. Returns the value if there is no receipt, or if it was dropped.
    pub(crate) fn hand_over(mut self) -> Result<(), Self> {
        match self.record.take_tracker() {
            Some(tracker) => tracker.hand_over(self),
            None => Err(self),
        }
    }

    /// Completes the receipt of the record with a copy of this value, if the record has a receipt.
    pub(crate) fn complete_receipt(&mut self) {
        if let Some(tracker) = self.record.take_tracker() {
            // The receipt may have been dropped.
            let _ = tracker.hand_over(self.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn settled(receipt: Receipt) -> Undelivered {
        receipt.now_or_never().expect("the receipt is open").expect_err("the record was delivered")
    }

    #[test]
    fn receipt_returns_unsent_record_on_drop() {
        let (record, receipt) = Record::from(("key", "data")).tracked();
        drop(record);
        let undelivered = settled(receipt);
        assert_eq!(undelivered.reason(), &FailureReason::Dropped);
        assert!(!undelivered.may_have_been_written());
        assert_eq!(undelivered.into_record(), Record::from(("key", "data")));
    }

    #[test]
    fn receipt_returns_record_with_keys() {
        let (record, receipt) = Record::from("data").tracked();
        let record = record.with_partition_key("later").with_explicit_hash_key(7_u128);
        assert_eq!(record.explicit_hash_key().unwrap().get(), 7);
        drop(record);
        let back = settled(receipt).into_record();
        assert_eq!(back.partition_key(), &"later".into());
        assert_eq!(back.explicit_hash_key().unwrap().get(), 7);
        let (record, receipt) = back.tracked();
        assert_eq!(record.into_data(), "data");
        assert_eq!(settled(receipt).record().data(), "", "the data was taken by into_data");
    }

    #[test]
    fn clone_has_no_receipt() {
        let (record, mut receipt) = Record::from("data").tracked();
        let copy = record.clone();
        assert_eq!(copy, record);
        drop(copy);
        assert!((&mut receipt).now_or_never().is_none());
        drop(record);
        settled(receipt);
    }

    #[test]
    fn dropped_record_names_stream_once_accepted() {
        let stream: StreamId = "example".parse().unwrap();
        let (record, receipt) = Record::from("data").tracked();
        drop(record.accepted(&stream));
        let undelivered = settled(receipt);
        assert_eq!(undelivered.stream(), Some(&stream));
        assert_eq!(undelivered.reason(), &FailureReason::Abandoned { last: None });
        let (record, receipt) = undelivered.into_record().tracked();
        drop(record);
        assert_eq!(settled(receipt).stream(), None);
    }

    #[test]
    fn second_tracked_call_completes_first_receipt() {
        let (record, first) = Record::from("data").tracked();
        let (record, second) = record.tracked();
        assert_eq!(settled(first).record().data(), "data");
        drop(record);
        assert_eq!(settled(second).record().data(), "data");
    }

    #[test]
    fn history_keeps_latest_attempts() {
        let (mut tracker, _receipt) = Tracker::new();
        for n in 0..100 {
            let error = AttemptError { code: n.to_string(), message: String::new() };
            tracker.record_attempt(Duration::from_secs(n), Arc::new(error));
        }
        let history = tracker.take_history();
        assert_eq!(history.len(), 16);
        assert_eq!((history[0].error().code(), history[15].error().code()), ("84", "99"));
        assert_eq!(history[15].since_accepted(), Duration::from_secs(99));
    }
}
