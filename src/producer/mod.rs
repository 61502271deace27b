//! One sink shared by many tasks.

mod channel;
mod close;
mod driver;
mod queue;
mod sink;
mod status;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::coop::consume_budget;

pub use close::CloseError;
pub use driver::Driver;

use self::channel::{Channel, Permit};
use self::sink::SinkState;
use self::status::{Status, StopReason};
use crate::error::{NotAccepted, NotAcceptedReason, SinkError};
use crate::limits::Limits;
use crate::record::{Receipt, Record, Undelivered};
use crate::service::PutRecordsService;
use crate::sink::KinesisSink;
use crate::stream::StreamId;
use crate::summary::Totals;

/// A handle to a sink that many tasks share: clone it, and give each task one.
///
/// The sink itself is owned by a [`Driver`], a task of its own, so retries and lingering records move on
/// with nobody polling. Made by [`KinesisSink::spawn`] or [`KinesisSink::into_producer`].
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
/// # Sink or producer?
///
/// | | [`KinesisSink`] | `Producer` |
/// |---|---|---|
/// | owners | one | any number of tasks |
/// | moves | while it is polled | by itself: a driver task |
/// | source | one stream, with `forward` or `send_all` | tasks that send now and then; also `forward` from many streams at once |
/// | a record's fate | `flush`, `take_failed`, dead letters, or a receipt of [`Record::tracked`] | the same, and [`put`](Self::put) |
/// | a fatal error | comes out of the poll methods; its owner decides | [`FatalPolicy`](crate::FatalPolicy) |
/// | runtime | polled inside of tokio | the driver runs inside of tokio; clones can be used anywhere |
/// | cost per record | less: no lock, no other task | two short locks and some atomics; with a receipt two small allocations |
/// | dropped | abandons what it holds, and warns | the last clone dropped drains, then ends the driver |
///
/// # Back-pressure
///
/// The bounds are the sink's own, [`buffer_records`](crate::Settings::buffer_records) and
/// [`buffer_bytes`](crate::Settings::buffer_bytes): what is accepted and not yet seen by the
/// driver counts, as do failed records that nobody has taken. While they are reached `send` and `put`
/// wait. Who came first is served first, so a busy task cannot starve another one, and `try_put` does not
/// overtake anybody. A record of more than half of `buffer_bytes` waits for half of them, so that two such
/// records can be over the bound.
///
/// # Errors
///
/// What is not accepted comes back, inside [`NotAccepted`] with the reason. What happens when the service
/// refuses everything is decided by [`FatalPolicy`](crate::FatalPolicy): by default the producer stops and hands everything
/// back. Records that fail for good go to their receipts, else to the dead-letter handler, else they are
/// kept for [`take_failed`](Self::take_failed).
///
/// # The end
///
/// [`close`](Self::close), [`close_within`](Self::close_within) and the drop of the last clone drain what
/// was accepted and end the driver. Afterwards every call says so, with the record. Dropping the last
/// clone does not wait, so in a program that ends then, call `close`. A clone that is kept by something
/// which the driver keeps, such as the dead-letter handler, is never dropped.
///
/// # As a `Sink`
///
/// Each clone is a `futures::Sink` of its own, so many tasks can `forward` into one stream.
/// Closing it through the sink's methods, as `forward` does at its end, waits until everything accepted
/// so far is settled and closes *that clone*; the others go on. A clone that is ready and does not send
/// keeps room for one record as large as the largest so far; a still larger one is taken all the same.
/// The same goes for one whose `feed` or `send` was dropped while it waited: it keeps its place in the
/// line, as its next call goes on there. Dropping the clone, or closing it, gives the room back.
///
/// The inherent methods come before those of `SinkExt` with the same name, except on a `&mut Producer`:
/// there `SinkExt::send` also flushes and `SinkExt::close` closes the clone.
///
/// # Cancel safety
///
/// Dropping the future of `send` or `put` before it is ready means that the record was not accepted (it is
/// dropped with the future); the place among those who wait is given up. Dropping the futures of `flush`,
/// `close`, `close_within`, `closed` and `take_failed` changes nothing but what each of them says. Of the
/// futures of `SinkExt`, dropping `feed` or `send` may leave a place in the line (see above); dropping
/// `flush` or `close` loses nothing, and the next call asks again for what this clone has sent since.
pub struct Producer {
    channel: Arc<Channel>,
    /// Whether this clone was closed through the sink's methods, and takes no more records.
    closed: bool,
    /// Whether `poll_close` has returned `Ok`.
    close_completed: bool,
    /// Whether this clone has sent since its last flush through the sink's methods.
    flush_pending: AtomicBool,
    sink_state: SinkState,
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
        let channel = Channel::new(self.stream().clone(), self.limits(), self.bounds());
        let channel = Arc::new(channel);
        let policy = self.fatal_policy();
        let driver = Driver::new(self, channel.clone(), policy);
        (Producer::new(channel, false), driver)
    }
}

impl Producer {
    fn new(channel: Arc<Channel>, closed: bool) -> Self {
        Self {
            channel,
            closed,
            close_completed: closed,
            flush_pending: AtomicBool::new(false),
            sink_state: SinkState::default(),
        }
    }

    /// The stream.
    #[must_use]
    pub fn stream(&self) -> &StreamId {
        &self.channel.stream
    }

    /// What one request and one record may hold. Before the stream was
    /// [described](crate::SinkBuilder::with_stream_info) a record may have no more than 1 MiB.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.channel.limits()
    }

    /// What the sink did since it was built, as of the driver's latest turn. Records that were accepted
    /// since are not in it.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.channel.queue().totals
    }

    /// Waits for room, and is ready once the record is accepted. What becomes of it is not told; see
    /// [`put`](Self::put).
    ///
    /// # Errors
    ///
    /// The record, and why it was not accepted: it can never be sent, the stream refuses everything,
    /// failed records that nobody has taken leave too little room, or the producer has ended.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it has not accepted the record. Once it is ready, it has.
    pub async fn send(&self, record: Record) -> Result<(), NotAccepted> {
        let (record, permit) = self.admit(record).await?;
        self.accept(record, permit)
    }

    /// Waits for room, and is ready with a receipt once the record is accepted.
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
    pub async fn put(&self, record: Record) -> Result<Receipt, NotAccepted> {
        let (record, permit) = self.admit(record).await?;
        let (record, receipt) = record.tracked();
        self.accept(record, permit).map(|()| receipt)
    }

    /// Accepts the record if there is room and nobody waits for it, without waiting.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), and [`NotAcceptedReason::Full`] if it had to wait.
    pub fn try_send(&self, record: Record) -> Result<(), NotAccepted> {
        let (record, permit) = self.try_admit(record)?;
        self.accept(record, permit)
    }

    /// As [`try_send`](Self::try_send), with a receipt.
    ///
    /// # Errors
    ///
    /// As [`try_send`](Self::try_send).
    pub fn try_put(&self, record: Record) -> Result<Receipt, NotAccepted> {
        let (record, permit) = self.try_admit(record)?;
        let (record, receipt) = record.tracked();
        self.accept(record, permit).map(|()| receipt)
    }

    /// Checks the record and waits for its permit.
    async fn admit(&self, record: Record) -> Result<(Record, Permit), NotAccepted> {
        // A caller in a loop must let the driver run, even if it never has to wait.
        consume_budget().await;
        let record = self.channel.check(self.check_open(record)?).await?;
        match self.channel.clone().reserve(record.size()).await {
            Ok(permit) => Ok((record, permit)),
            Err(reason) => Err(NotAccepted::new(record, reason)),
        }
    }

    fn try_admit(&self, record: Record) -> Result<(Record, Permit), NotAccepted> {
        let record = self.check(record)?;
        match self.channel.try_reserve_or_notify(record.size()) {
            Ok(permit) => Ok((record, permit)),
            Err(reason) => Err(NotAccepted::new(record, reason)),
        }
    }

    fn accept(&self, record: Record, permit: Permit) -> Result<(), NotAccepted> {
        self.flush_pending.store(true, Ordering::Relaxed);
        self.channel.push(record, permit)
    }

    fn check(&self, record: Record) -> Result<Record, NotAccepted> {
        self.channel.check_now(self.check_open(record)?)
    }

    fn check_open(&self, record: Record) -> Result<Record, NotAccepted> {
        if self.closed {
            return Err(NotAccepted::new(record, NotAcceptedReason::Closed));
        }
        Ok(record)
    }

    /// Is ready when everything that was accepted before the call, by any clone, is settled. Records
    /// accepted later cannot hold it up.
    ///
    /// It sends nothing earlier than the linger allows: the driver flushes all the time.
    ///
    /// # Errors
    ///
    /// [`SinkError::Undelivered`] as long as failed records are kept for
    /// [`take_failed`](Self::take_failed), [`SinkError::Request`] when the stream refuses everything and
    /// the producer goes on trying, [`SinkError::Stopped`] and [`SinkError::Abandoned`] when it has ended.
    ///
    /// # Cancel safety
    ///
    /// Dropping it changes nothing.
    pub async fn flush(&self) -> Result<(), SinkError> {
        consume_budget().await;
        match self.channel.flush()? {
            Some(reply) => reply.await.unwrap_or_else(|_| self.channel.final_flush_result()),
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
        self.channel.collect_failed().await;
        // An earlier flush has found these records.
        self.flush_pending.store(true, Ordering::Relaxed);
        self.channel.take_collected()
    }

    /// Takes no more records from any clone, and is ready when all that were accepted are settled and
    /// the driver has ended.
    ///
    /// Without a deadline that can take as long as an outage does; see
    /// [`close_within`](Self::close_within). May be called again and again, by any clone.
    ///
    /// # Errors
    ///
    /// [`CloseError`] with the records that were not delivered and that nobody has taken, or if the
    /// producer had stopped or been abandoned before.
    ///
    /// # Cancel safety
    ///
    /// Dropped after its first poll it has closed the producer, which goes on draining. No record is lost
    /// with it: the next call returns them.
    pub async fn close(&self) -> Result<(), CloseError> {
        self.channel.close(StopReason::Closed);
        self.channel.terminated().await
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
    pub async fn close_within(&self, deadline: Duration) -> Result<(), CloseError> {
        match tokio::time::timeout(deadline, self.close()).await {
            Ok(closed) => closed,
            Err(_) => {
                self.channel.abort();
                self.channel.terminated().await
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
        let mut status = self.channel.watch();
        // The sender is in `self`, so there is a status.
        let _ = status.wait_for(Status::is_stopped).await;
    }

    /// Whether this clone takes no more records: it was closed, or the producer has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed || self.channel.is_closing()
    }
}

impl Clone for Producer {
    /// Another handle to the same sink. The clone of a closed one is closed.
    fn clone(&self) -> Self {
        if !self.closed {
            self.channel.add_handle();
        }
        Self::new(self.channel.clone(), self.closed)
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        if !self.closed {
            self.channel.remove_handle();
        }
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("stream", &self.channel.stream)
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}
