//! One sink shared by many tasks: the handle, its driver, and adapters.
//!
//! [`Producer`] is the handle, [`Driver`] the task behind it. [`ProducerSink`] is a producer as a `futures::Sink`,
//! [`ResponseFuture`] belongs to the producer as a `tower::Service`, and [`PutAll`] puts a stream of records and
//! returns what became of each.

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

/// A handle to a sink that runs by itself. Cloning it is cheap: give each task a clone.
///
/// The sink is owned by a [`Driver`], a task of its own, so retries and lingering records make progress without a
/// caller. [`KinesisSink::spawn`] and [`KinesisSink::into_producer`] create both.
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
/// producer.send(Record::from("no receipt wanted")).await?;
/// task.await?.map_err(|error| error.to_string())?;
/// producer.close().await?;
/// # Ok(())
/// # }
/// ```
///
/// # Ways to send
///
/// | | returns once | with |
/// |---|---|---|
/// | [`send`](Self::send), [`try_send`](Self::try_send) | the record is accepted | nothing |
/// | [`put`](Self::put), [`try_put`](Self::try_put) | the record is accepted | a [`Receipt`], a future of its [`Delivery`](crate::Delivery) |
/// | [`sink()`](Self::sink) | | a [`futures::Sink`], for `forward` and `send_all` |
/// | [`put_all(stream)`](Self::put_all) | | a stream of each record's outcome with a context, such as an offset |
/// | [`tower::Service<Record>`](tower::Service) | the record is delivered | its `Delivery`, so that layers and `call_all` apply to single records |
///
/// # Sink or producer?
///
/// | | [`KinesisSink`] | `Producer` |
/// |---|---|---|
/// | owners | one | any number of tasks |
/// | makes progress | while it is polled | by itself: a driver task |
/// | source | one stream, with `forward` or `send_all` | tasks that send now and then; also `forward` from many streams at once |
/// | outcome of a record | `flush`, `take_failed`, dead letters, or a receipt of [`Record::tracked`] | the same, and [`put`](Self::put) |
/// | a fatal error | comes out of the poll methods; its owner decides | [`FatalPolicy`](crate::settings::FatalPolicy) |
/// | runtime | polled inside of tokio | the driver runs inside of tokio; clones can be used anywhere |
/// | cost per record | less: no lock, no other task | two short locks and some atomics; with a receipt two small allocations |
/// | dropped | abandons what it holds, and warns | the last clone dropped drains, then ends the driver |
///
/// # Backpressure
///
/// The bounds are the sink's own, [`buffer_records`](crate::Settings::buffer_records) and
/// [`buffer_bytes`](crate::Settings::buffer_bytes). Records that were accepted and have not reached the driver count,
/// and so do failed records that nobody has taken. While the bounds are reached, `send` and `put` wait, first come,
/// first served, so that a busy task cannot starve another one; `try_put` does not overtake a waiting task. A record
/// of more than half of `buffer_bytes` waits for half of them, so that two such records can exceed the bound.
///
/// # Errors
///
/// A record that is not accepted comes back [in the error](Error::into_record). When the service refuses every
/// request, [`FatalPolicy`](crate::settings::FatalPolicy) decides: by default the producer stops and hands everything back.
/// Records that fail for good go to their receipts, else to the dead-letter handler, else they are kept for
/// [`take_failed`](Self::take_failed).
///
/// # Shutdown
///
/// [`close`](Self::close), [`close_within`](Self::close_within) and the drop of the last handle drain what
/// was accepted and end the driver. Afterwards every call returns an error, with the record. Dropping the last
/// handle does not wait, so a program that ends then should call `close`. Clones and [sinks](Self::sink) are handles.
/// A handle that is owned by something which the driver owns, such as the dead-letter handler, is never dropped.
///
/// # Cancel safety
///
/// Dropping the future of `send` or `put` before it is ready means that the record was not accepted (it is
/// dropped with the future), and gives up the place in the queue. Dropping the futures of `flush`,
/// `close`, `close_within`, `closed` and `take_failed` has no effect but those described there.
#[derive(Clone)]
pub struct Producer {
    handle: Arc<Handle>,
    /// For the poll methods of `Service`.
    reservation: Reservation,
}

/// What the handles of a producer share. Dropping it closes the producer.
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
    /// Makes a producer of this sink, and spawns its driver onto the current tokio runtime, whose timer
    /// must be enabled.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    #[must_use = "without a clone of it the driver ends"]
    pub fn spawn(self) -> Producer
    where
        S: Send + 'static,
    {
        let (producer, driver) = self.into_producer();
        tokio::spawn(driver);
        producer
    }

    /// Makes a producer of this sink, and its driver, a future to be placed where it shall run. Nothing
    /// moves until it is polled; what is accepted before waits for it.
    ///
    /// ```no_run
    /// use kinesis_sink::{KinesisSink, Record};
    ///
    /// # async fn run(client: aws_sdk_kinesis::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let (producer, driver) = KinesisSink::new(&client, "example")?.into_producer();
    /// let driver = tokio::spawn(driver);
    /// producer.send(Record::from("a record")).await?;
    /// drop(producer);
    /// // Ready when everything is settled; an error if the driver panicked.
    /// driver.await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use = "nothing moves until the driver is polled"]
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

    /// The stream.
    #[must_use]
    pub fn stream(&self) -> &StreamId {
        &self.channel().stream
    }

    /// What one request and one record may hold. Before the stream was
    /// [described](crate::SinkBuilder::with_stream_info) a record may have no more than 1 MiB.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.channel().limits()
    }

    /// Checks that the stream can be reached and accepts records, like [`KinesisSink::check`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unusable`](crate::ErrorKind::Unusable), with one sentence that says what is wrong and how to fix
    /// it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future abandons the request, which changes nothing.
    pub async fn check(&self) -> Result<(), Error> {
        self.channel().check_stream().await
    }

    /// Returns the status: what is buffered, totals, the latest request, and whether records are delivered.
    ///
    /// Numbers are those of the driver's latest turn, and records accepted since count as queued. A driver has a turn
    /// whenever something happens.
    #[must_use]
    pub fn status(&self) -> Status {
        self.channel().status()
    }

    /// Returns a watch of the producer's [condition](crate::status::Condition).
    #[must_use]
    pub fn watch(&self) -> ConditionWatch {
        self.channel().condition().watch()
    }

    /// Sends a record, waiting for room. Completes once the record is accepted; [`put`](Self::put) also returns its
    /// outcome.
    ///
    /// # Errors
    ///
    /// The record, and why it was not accepted: it can never be sent, the stream refuses everything,
    /// failed records that nobody has taken leave too little room, or the producer has ended.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it has not accepted the record. Once it is ready, it has.
    pub async fn send(&self, record: Record) -> Result<(), Error> {
        let (record, permit) = self.admit(record).await?;
        self.accept(record, permit)
    }

    /// Sends a record, waiting for room. Completes once the record is accepted, with a receipt of its delivery.
    ///
    /// A record has one receipt: one that it had [before](Record::tracked) ends as if the record had
    /// been dropped. Send such a record with [`send`](Self::send).
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

    /// Sends a record if there is room and no other task waits for it, without waiting.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), and [`ErrorKind::Full`](crate::ErrorKind::Full) if it had to wait.
    pub fn try_send(&self, record: Record) -> Result<(), Error> {
        let (record, permit) = self.try_admit(record)?;
        self.accept(record, permit)
    }

    /// Sends a record like [`try_send`](Self::try_send), with a receipt of its delivery.
    ///
    /// # Errors
    ///
    /// As [`try_send`](Self::try_send).
    pub fn try_put(&self, record: Record) -> Result<Receipt, Error> {
        let (record, permit) = self.try_admit(record)?;
        let (record, receipt) = record.tracked();
        self.accept(record, permit).map(|()| receipt)
    }

    /// Checks the record and waits for its permit.
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

    /// Waits until every record that was accepted before the call, by any handle, is settled. Records
    /// accepted later cannot delay it.
    ///
    /// It sends nothing earlier than the linger allows: the driver flushes all the time.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Undelivered`](crate::ErrorKind::Undelivered) as long as failed records are kept for
    /// [`take_failed`](Self::take_failed), [`Refused`](crate::ErrorKind::Refused) when the service refuses every
    /// request and the producer retries, [`Stopped`](crate::ErrorKind::Stopped) and
    /// [`Abandoned`](crate::ErrorKind::Abandoned) when it has ended.
    ///
    /// # Cancel safety
    ///
    /// Dropping it changes nothing.
    pub async fn flush(&self) -> Result<(), Error> {
        consume_budget().await;
        match self.channel().flush()? {
            Some(reply) => reply.await.unwrap_or_else(|_| self.channel().final_flush_result()),
            None => Ok(()),
        }
    }

    /// Takes out the records that failed for good, without a receipt or a dead-letter handler to take
    /// them, in the order of acceptance. Once the producer has ended, also what was left then.
    ///
    /// Failed records count towards the bounds until this returns them.
    ///
    /// # Cancel safety
    ///
    /// Dropping it loses nothing: the next call returns the records.
    #[must_use = "the records are no longer in the producer"]
    pub async fn take_failed(&self) -> Vec<Undelivered> {
        self.channel().collect_failed().await;
        self.channel().take_collected()
    }

    /// Takes no more records from any clone, and is ready when all that were accepted are settled and
    /// the driver has ended.
    ///
    /// Without a deadline that can take as long as an outage does; see
    /// [`close_within`](Self::close_within). May be called again and again, by any clone.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Undelivered`](crate::ErrorKind::Undelivered) with the records that were not delivered and that
    /// nobody has taken, [`Stopped`](crate::ErrorKind::Stopped) or [`Abandoned`](crate::ErrorKind::Abandoned) if the
    /// producer had ended like that before. [`Error::count`] is the number of all records that were not delivered.
    ///
    /// # Cancel safety
    ///
    /// Dropped after its first poll it has closed the producer, which goes on draining. No record is lost
    /// with it: the next call returns them.
    pub async fn close(&self) -> Result<(), Error> {
        self.channel().close(StopReason::Closed);
        self.channel().terminated().await
    }

    /// Closes, and gives back what is not settled after `deadline`.
    ///
    /// The records left go to the caller, inside the error, and their receipts say that they were taken
    /// back. Requests in flight at that moment are abandoned: their records
    /// [may be written](Undelivered::may_have_been_written). It is the driver who gives them back, so a driver
    /// that is not polled holds this up.
    ///
    /// # Errors
    ///
    /// As [`close`](Self::close).
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with its timer enabled.
    ///
    /// # Cancel safety
    ///
    /// As [`close`](Self::close). Dropped before the deadline, it gives nothing up.
    pub async fn close_within(&self, deadline: Duration) -> Result<(), Error> {
        match tokio::time::timeout(deadline, self.close()).await {
            Ok(closed) => closed,
            Err(_) => {
                self.channel().abort();
                self.channel().terminated().await
            }
        }
    }

    /// Waits until the producer takes no more records: it was closed, it has stopped because the stream
    /// refuses everything, or its driver has ended. Does not close it.
    ///
    /// # Cancel safety
    ///
    /// Dropping it changes nothing.
    pub async fn closed(&self) {
        let mut state = self.channel().watch();
        // The sender is in `self`, so there is a state.
        let _ = state.wait_for(State::is_stopped).await;
    }

    /// Returns whether the producer accepts no more records: it was closed, or has ended.
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
