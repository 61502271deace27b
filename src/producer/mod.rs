//! Sink shared by many tasks.
//!
//! A [`Producer`] is a handle to a sink that a [`Driver`] owns and polls.

mod channel;
mod close;
mod driver;
mod put_all;
mod queue;
mod reservation;
mod service;
mod sink;
mod state;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::coop::consume_budget;

pub use driver::Driver;
pub use put_all::PutAll;
pub use service::ResponseFuture;
pub use sink::ProducerSink;

use self::channel::{Channel, Permit};
use self::reservation::Reservation;
use self::state::{State, StopReason};
use crate::error::Error;
use crate::limits::Limits;
use crate::record::{Receipt, Record, Undelivered};
use crate::service::PutRecordsService;
use crate::sink::KinesisSink;
use crate::status::{ConditionWatch, Status};
use crate::stream::StreamId;

/// Handle to a sink that a separate task polls, which is cheap to clone.
///
/// The task runs the [`Driver`], which owns the sink, so that retries and lingering records are sent without a caller.
/// [`KinesisSink::spawn`] and [`KinesisSink::into_producer`] create a producer and its driver. Give each task a clone of
/// the producer.
///
/// ```no_run
/// use kinesis_sink::{KinesisSink, Record};
///
/// # async fn run(client: aws_sdk_kinesis::Client) -> Result<(), Box<dyn std::error::Error>> {
/// let producer = KinesisSink::new(&client, "example")?.spawn();
///
/// let task = tokio::spawn({
///     let producer = producer.clone();
///     async move {
///         let receipt = producer.put(Record::from(("device-7", "21.5"))).await?;
///         let delivery = receipt.await?;
///         println!("in {} as {}", delivery.shard_id(), delivery.sequence_number());
///         Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
///     }
/// });
///
/// producer.send(Record::from("a record without a receipt")).await?;
/// task.await?.map_err(|error| error.to_string())?;
/// producer.close().await?;
/// # Ok(())
/// # }
/// ```
///
/// # Ways to send
///
/// | method | completes | result |
/// |---|---|---|
/// | [`send`](Self::send), [`try_send`](Self::try_send) | when the record is accepted | |
/// | [`put`](Self::put), [`try_put`](Self::try_put) | when the record is accepted | a [`Receipt`], the future of its [`Delivery`](crate::Delivery) |
/// | [`sink()`](Self::sink) | immediately | a [`futures::Sink`], for `forward` and `send_all` |
/// | [`put_all(stream)`](Self::put_all) | immediately | a stream of the records' outcomes, each with a context such as an offset |
/// | [`tower::Service<Record>`](tower::Service) | when the record is delivered | a `Delivery`, for layers and `call_all` over single records |
///
/// # Sink or producer?
///
/// | | [`KinesisSink`] | `Producer` |
/// |---|---|---|
/// | owners | one | any number of tasks |
/// | makes progress | while it is polled | always, in the driver's task |
/// | source | one stream, with `forward` or `send_all` | many tasks that send records, or many streams with `forward` |
/// | outcome of a record | `flush`, `take_failed`, dead letters, or a receipt from [`Record::tracked`] | the same, and a receipt from [`put`](Self::put) |
/// | fatal error | returned by the poll methods | handled by the [`FatalPolicy`](crate::settings::FatalPolicy) |
/// | runtime | polled inside of tokio | driver inside of tokio, handles anywhere |
/// | cost per record | no lock, no other task | two short locks and some atomics; with a receipt two small allocations |
/// | drop | abandons the records in the buffer, and logs a warning | drop of the last handle: the driver drains the buffer, then ends |
///
/// # Backpressure
///
/// The bounds are those of the sink, [`buffer_records`](crate::Settings::buffer_records) and
/// [`buffer_bytes`](crate::Settings::buffer_bytes). They include accepted records that have not reached the driver, and
/// failed records that were not taken. While a bound is reached, `send` and `put` wait in the order of their calls, so
/// that a busy task cannot starve others. `try_send` and `try_put` fail while a task waits. A record of more than half
/// of `buffer_bytes` waits until half of them are free, so two such records can exceed the bound.
///
/// # Errors
///
/// A record that is not accepted is returned [in the error](Error::into_record). The
/// [`FatalPolicy`](crate::settings::FatalPolicy) applies when the service refuses every request: by default the producer
/// stops and returns its records.
///
/// The receipt of a record that fails for good returns it. Without a receipt, the record goes to the dead-letter
/// handler. Without a handler, it is kept for [`take_failed`](Self::take_failed).
///
/// # Shutdown
///
/// [`close`](Self::close), [`close_within`](Self::close_within) and the drop of the last handle drain the accepted
/// records and end the driver. Clones, [sinks](Self::sink) and [`PutAll`] streams are handles. Afterwards every send
/// returns an error with the record. Dropping the last handle does not wait for the drain, so call `close` before the
/// program ends.
///
/// A handle that the driver owns, for example in the dead-letter handler, keeps the producer open.
///
/// # Cancel safety
///
/// If the future of `send` or `put` is dropped before it is ready, the record was not accepted and is dropped. Its place
/// in the queue is lost. The other methods document their cancel safety.
#[derive(Clone)]
pub struct Producer {
    handle: Arc<Handle>,
    /// Used by the poll methods of `Service`.
    reservation: Reservation,
}

/// State shared by the handles of a producer. Dropping it closes the producer.
struct Handle(Arc<Channel>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.drop_handles();
    }
}

impl<S> KinesisSink<S>
where
    S: PutRecordsService,
{
    /// Converts the sink into a producer, and spawns its driver onto the current tokio runtime.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime. The driver panics if the runtime's timer is not enabled.
    #[must_use = "dropping the last handle closes the producer"]
    pub fn spawn(self) -> Producer
    where
        S: Send + 'static,
    {
        let (producer, driver) = self.into_producer();
        tokio::spawn(driver);
        producer
    }

    /// Converts the sink into a producer and its driver, a future that the caller spawns or polls.
    ///
    /// Records are sent only while the driver is polled. Until then accepted records stay in the buffer.
    ///
    /// ```no_run
    /// use kinesis_sink::{KinesisSink, Record};
    ///
    /// # async fn run(client: aws_sdk_kinesis::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let (producer, driver) = KinesisSink::new(&client, "example")?.into_producer();
    /// let driver = tokio::spawn(driver);
    /// producer.send(Record::from("a record")).await?;
    /// drop(producer);
    /// // Ready when every record is settled. An error if the driver panicked.
    /// driver.await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use = "no record is sent before the driver is polled"]
    pub fn into_producer(self) -> (Producer, Driver<S>) {
        let core = &self.core;
        let channel = Channel::new(core, self.limits());
        let channel = Arc::new(channel);
        let policy = core.fatal_policy();
        let driver = Driver::new(self, channel.clone(), policy);
        (Producer::new(channel), driver)
    }
}

impl Producer {
    fn new(channel: Arc<Channel>) -> Self {
        Self { handle: Arc::new(Handle(channel)), reservation: Reservation::None }
    }

    fn channel(&self) -> &Arc<Channel> {
        &self.handle.0
    }

    /// Returns the stream.
    #[must_use]
    pub fn stream(&self) -> &StreamId {
        &self.channel().stream
    }

    /// Returns the limits in effect.
    ///
    /// Until a required [description](crate::SinkBuilder::with_stream_info) of the stream is known, the maximum size of
    /// a record is 1 MiB.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.channel().limits()
    }

    /// Checks that the stream can be reached and accepts records, like [`KinesisSink::check`].
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Unusable`](crate::ErrorKind::Unusable). The message names the cause and the fix.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the request and has no other effect.
    pub async fn check(&self) -> Result<(), Error> {
        self.channel().check_stream().await
    }

    /// Returns the status: the records in the buffer, totals, the latest request, and the condition.
    ///
    /// The values are those of the driver's latest poll. Records accepted since then count as queued.
    #[must_use]
    pub fn status(&self) -> Status {
        self.channel().status()
    }

    /// Returns a watch of the producer's [condition](crate::status::Condition).
    #[must_use]
    pub fn watch(&self) -> ConditionWatch {
        self.channel().condition().watch()
    }

    /// Sends a record, waiting until the buffer has capacity for it.
    ///
    /// Completes once the record is accepted. [`put`](Self::put) also returns a receipt of the delivery.
    ///
    /// # Errors
    ///
    /// Returns an error [with the record](Error::into_record), of kind
    ///
    /// - [`RecordTooLarge`](crate::ErrorKind::RecordTooLarge) or
    ///   [`InvalidPartitionKey`](crate::ErrorKind::InvalidPartitionKey) if the record can never be sent;
    /// - [`Refused`](crate::ErrorKind::Refused) if the service refuses every request and the producer retries;
    /// - [`Undelivered`](crate::ErrorKind::Undelivered) if failed records that were not taken fill the buffer;
    /// - [`Closed`](crate::ErrorKind::Closed), [`Stopped`](crate::ErrorKind::Stopped) or
    ///   [`Abandoned`](crate::ErrorKind::Abandoned) if the producer has ended.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is ready, the record was not accepted and is dropped.
    pub async fn send(&self, record: Record) -> Result<(), Error> {
        let (record, permit) = self.admit(record).await?;
        self.accept(record, permit)
    }

    /// Sends a record, waiting until the buffer has capacity for it, and returns a receipt of its delivery.
    ///
    /// Completes once the record is accepted. A record has one receipt: an [earlier](Record::tracked) one completes as
    /// if the record had been dropped. Use [`send`](Self::send) for a record that already has a receipt.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    ///
    /// # Cancel safety
    ///
    /// As [`send`](Self::send).
    pub async fn put(&self, record: Record) -> Result<Receipt, Error> {
        let (record, permit) = self.admit(record).await?;
        let (record, receipt) = record.tracked();
        self.accept(record, permit).map(|()| receipt)
    }

    /// Sends a record without waiting, if the buffer has capacity for it and no other task waits.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), and [`ErrorKind::Full`](crate::ErrorKind::Full) where `send` would wait.
    pub fn try_send(&self, record: Record) -> Result<(), Error> {
        let (record, permit) = self.try_admit(record)?;
        self.accept(record, permit)
    }

    /// Sends a record like [`try_send`](Self::try_send), and returns a receipt of its delivery.
    ///
    /// # Errors
    ///
    /// As [`try_send`](Self::try_send).
    pub fn try_put(&self, record: Record) -> Result<Receipt, Error> {
        let (record, permit) = self.try_admit(record)?;
        let (record, receipt) = record.tracked();
        self.accept(record, permit).map(|()| receipt)
    }

    async fn admit(&self, record: Record) -> Result<(Record, Permit), Error> {
        // A caller in a loop must let the driver run, even if it never has to wait.
        consume_budget().await;
        let record = self.channel().check(record).await?;
        match self.channel().clone().reserve(record.size()).await {
            Ok(permit) => Ok((record, permit)),
            Err(rejection) => Err(self.channel().rejected(record, rejection)),
        }
    }

    fn try_admit(&self, record: Record) -> Result<(Record, Permit), Error> {
        let record = self.channel().check_now(record)?;
        match self.channel().try_reserve_or_notify(record.size()) {
            Ok(permit) => Ok((record, permit)),
            Err(rejection) => Err(self.channel().rejected(record, rejection)),
        }
    }

    fn accept(&self, record: Record, permit: Permit) -> Result<(), Error> {
        self.channel().push(record, permit)
    }

    /// Waits until every record that any handle has sent before the call is settled.
    ///
    /// Records that are accepted later do not delay it. It does not shorten the linger, because the driver flushes
    /// continuously.
    ///
    /// # Errors
    ///
    /// Returns
    ///
    /// - [`Undelivered`](crate::ErrorKind::Undelivered) while failed records are kept for
    ///   [`take_failed`](Self::take_failed);
    /// - [`Refused`](crate::ErrorKind::Refused) if the service refuses every request and the producer retries;
    /// - [`Stopped`](crate::ErrorKind::Stopped) or [`Abandoned`](crate::ErrorKind::Abandoned) if the producer has ended.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn flush(&self) -> Result<(), Error> {
        consume_budget().await;
        match self.channel().flush()? {
            Some(reply) => reply.await.unwrap_or_else(|_| self.channel().final_flush_result()),
            None => Ok(()),
        }
    }

    /// Takes the records that failed for good and went neither to a receipt nor to a dead-letter handler.
    ///
    /// They are in the order of acceptance, and count towards the bounds until this method returns them. Once the
    /// producer has ended, they include the remaining undelivered records.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no record: the next call returns them.
    #[must_use = "the records are no longer in the producer"]
    pub async fn take_failed(&self) -> Vec<Undelivered> {
        self.channel().collect_failed().await;
        self.channel().take_collected()
    }

    /// Closes the producer, and waits until every accepted record is settled and the driver has ended.
    ///
    /// No handle accepts records after the first poll. Without a [deadline](crate::Settings::deadline) the drain takes as
    /// long as an outage; see [`close_within`](Self::close_within). Each handle may call this method, any number of
    /// times.
    ///
    /// # Errors
    ///
    /// Returns
    ///
    /// - [`Undelivered`](crate::ErrorKind::Undelivered) if records were not delivered;
    /// - [`Stopped`](crate::ErrorKind::Stopped) or [`Abandoned`](crate::ErrorKind::Abandoned) if the producer has ended
    ///   for such a reason.
    ///
    /// The error has the [undelivered records](Error::undelivered) that were not returned before, and
    /// [`Error::count`] is the number of all undelivered records.
    ///
    /// # Cancel safety
    ///
    /// The first poll closes the producer. Dropping the future does not stop the drain and loses no record: the next
    /// call returns the undelivered records.
    pub async fn close(&self) -> Result<(), Error> {
        self.channel().close(StopReason::Closed);
        self.channel().terminated().await
    }

    /// Closes the producer, and withdraws the records that are not settled within `deadline`.
    ///
    /// The withdrawn records are returned in the error, and their receipts complete with
    /// [`FailureReason::Withdrawn`](crate::record::FailureReason::Withdrawn). Requests in flight are abandoned, and their
    /// records [may have been written](Undelivered::may_have_been_written). The driver withdraws the records, so this
    /// method completes only if the driver is polled.
    ///
    /// # Errors
    ///
    /// As [`close`](Self::close).
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime whose timer is enabled.
    ///
    /// # Cancel safety
    ///
    /// As [`close`](Self::close). No record is withdrawn if the future is dropped before the deadline.
    pub async fn close_within(&self, deadline: Duration) -> Result<(), Error> {
        match tokio::time::timeout(deadline, self.close()).await {
            Ok(closed) => closed,
            Err(_) => {
                self.channel().abort();
                self.channel().terminated().await
            }
        }
    }

    /// Waits until the producer accepts no more records, without closing it.
    ///
    /// It accepts no more records when it was closed, when it has stopped because the service refuses every request, and
    /// when its driver has ended.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn closed(&self) {
        let mut state = self.channel().watch();
        // Never an error, because `self` owns the sender.
        let _ = state.wait_for(State::is_stopped).await;
    }

    /// Returns `true` if the producer was closed or has ended, and accepts no more records.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.channel().is_closing()
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("stream", &self.channel().stream)
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}
