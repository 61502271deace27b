//! A sink that many tasks can share.
//!
//! A [`Producer`] is a handle to a sink. The sink is owned and polled by a [`Driver`].

mod capacity;
mod channel;
mod close;
mod driver;
mod put_all;
mod queue;
mod reservation;
mod router_access;
mod routes;
mod service;
mod sink;
mod spooling;
mod state;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::coop::consume_budget;

pub use driver::Driver;
pub use put_all::PutAll;
pub(crate) use router_access::EndReason;
pub use service::ResponseFuture;
pub use sink::ProducerSink;

use self::capacity::Permit;
use self::channel::Channel;
use self::reservation::Reservation;
use self::state::{State, StopReason};
use crate::error::Error;
use crate::limits::Limits;
use crate::pipeline::Admission;
use crate::record::{Receipt, Record, Undelivered};
use crate::service::PutRecordsService;
use crate::sink::KinesisSink;
use crate::status::{ConditionWatch, Status};
use crate::stream::StreamId;

/// Cheaply cloneable handle to a sink that is polled by a separate task.
///
/// The task runs the [`Driver`], which owns and polls the sink, so retries and lingering records are sent without
/// further calls. [`KinesisSink::spawn`] and [`KinesisSink::into_producer`] create a producer and its driver. Give each
/// task that sends records a clone of the producer.
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
/// | [`put_all(stream)`](Self::put_all) | immediately | a stream of outcomes, each with a context such as an offset |
/// | [`tower::Service<Record>`](tower::Service) | when the record is delivered | a `Delivery`; allows tower layers and `call_all` for single records |
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
/// | drop | abandons the records in the buffer, and logs a warning | when the last handle is dropped, the driver drains the buffer and ends |
///
/// # Backpressure
///
/// A producer has the same buffer bounds as a sink: [`buffer_records`](crate::Settings::buffer_records) and
/// [`buffer_bytes`](crate::Settings::buffer_bytes). Accepted records count towards the bounds even before the driver
/// processes them, and failed records count until they are taken.
///
/// As soon as the producer knows the shards of the stream, it divides the buffer between them by the [fair-share
/// rule](crate::budget#fair-share): each shard has a reserve, and can use a part of the rest. A shard that is
/// throttled, or that gets most of the records, therefore has only a part of the buffer, and records for the other
/// shards are accepted. Records without a partition key are sent to a shard that has capacity. Records whose shard is
/// not known have a share in common.
///
/// `send` and `put` wait while the share of the record's shard is used up. Waiting calls for the same shard are served
/// in the order in which they were made, so that a busy task cannot starve others. Calls for other shards do not wait
/// for them. `try_send` and `try_put` return [`ErrorKind::Full`](crate::ErrorKind::Full) if `send` would wait: if the
/// share is used up, or if another task is waiting for it.
///
/// A [`ProducerSink`] does not know the next record in `poll_ready`, so it waits for the share of its last record. The
/// next record can exceed its share, but not the buffer. In the [`Service`](tower::Service) implementation, a record
/// waits for its share in the response future.
///
/// A record that is larger than half of `buffer_bytes` waits only until half of `buffer_bytes` is free, so two such
/// records can exceed the bound.
///
/// With a [budget](crate::SinkBuilder::with_budget), a record must also fit into the producer's share of the budget.
///
/// With a durable spool (`SinkBuilder::with_spool`, feature `spool`), records wait on disk and not in the callers. `send` and `put` then
/// wait only until the record is written, or, if the spool is full and waits, until it has
/// space. The buffer is not divided between the shards.
///
/// # Errors
///
/// If a record is not accepted, the error [contains it](Error::into_record). If the service refuses every request, the
/// [`FatalPolicy`](crate::settings::FatalPolicy) applies: by default, the producer stops and returns its records.
///
/// A permanently failed record is returned by its receipt. If the record has no receipt, it is passed to the
/// dead-letter handler. If there is no handler either, the record is kept until [`take_failed`](Self::take_failed) is
/// called.
///
/// # Shutdown
///
/// [`close`](Self::close) and [`close_within`](Self::close_within) close the producer, and so does dropping its last
/// handle. Clones, [sinks](Self::sink) and [`PutAll`] streams are handles. After the producer has been closed, the
/// driver drains the accepted records and ends, and sending a record returns an error that contains the record.
///
/// Dropping the last handle does not wait until the records are drained, so call `close` before the program ends. A
/// handle owned by the driver itself, for example in the dead-letter handler, keeps the producer open.
///
/// # Cancel safety
///
/// If the future of `send` or `put` is dropped before it is ready, the record is not accepted: it is dropped and loses
/// its place in the queue. With a spool, a record that is being written at this time is sent nevertheless. The other
/// methods document their cancel safety.
#[derive(Clone)]
pub struct Producer {
    handle: Arc<Handle>,
    /// Permit reserved by `poll_ready` of the `Service` implementation.
    reservation: Reservation,
}

/// Part of a producer shared by all of its handles. Dropping the last handle drops it, which closes the producer.
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
    /// Panics if it is called outside of a tokio runtime. The driver panics if the timer of the runtime is disabled.
    #[must_use = "dropping the last handle closes the producer"]
    pub fn spawn(self) -> Producer
    where
        S: Send + 'static,
    {
        let (producer, driver) = self.into_producer();
        tokio::spawn(driver);
        producer
    }

    /// Converts the sink into a producer and its driver.
    ///
    /// The driver is a future that the caller must spawn or poll. Records are sent only while the driver is polled;
    /// until then, accepted records stay in the buffer.
    ///
    /// ```no_run
    /// use kinesis_sink::{KinesisSink, Record};
    ///
    /// # async fn run(client: aws_sdk_kinesis::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let (producer, driver) = KinesisSink::new(&client, "example")?.into_producer();
    /// let driver = tokio::spawn(driver);
    /// producer.send(Record::from("a record")).await?;
    /// drop(producer);
    /// // Completes when every record is settled. Returns an error if the driver panicked.
    /// driver.await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use = "no record is sent before the driver is polled"]
    pub fn into_producer(self) -> (Producer, Driver<S>) {
        let core = &self.core;
        let channel = Channel::new(core);
        let channel = Arc::new(channel);
        let policy = core.fatal_policy();
        let driver = Driver::new(self, channel.clone(), policy);
        (Producer::new(channel), driver)
    }
}

impl Producer {
    fn new(channel: Arc<Channel>) -> Self {
        Self { handle: Arc::new(Handle(channel)), reservation: Reservation::NONE }
    }

    fn channel(&self) -> &Arc<Channel> {
        &self.handle.0
    }

    /// Returns the stream to which the producer sends.
    #[must_use]
    pub fn stream(&self) -> &StreamId {
        &self.channel().stream
    }

    /// Returns the limits that are in effect.
    ///
    /// If the sink requires a [stream description](crate::SinkBuilder::with_stream_info), the record size limit is at
    /// most 1 MiB until the sink has received the description.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.channel().limits()
    }

    /// Checks that the stream can be reached and accepts records, like [`KinesisSink::check`].
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Unusable`](crate::ErrorKind::Unusable) if the check fails. The error message names the
    /// cause and the fix.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the request and has no other effect.
    pub async fn check(&self) -> Result<(), Error> {
        self.channel().check_stream().await
    }

    /// Returns the status: the number of buffered records, the totals, the latest request, and the condition.
    ///
    /// The values are as of the last time the driver was polled. Records accepted since then count as queued.
    #[must_use]
    pub fn status(&self) -> Status {
        self.channel().status()
    }

    /// Returns the number of records that were found in the [spool](crate::SinkBuilder::with_spool) when the sink was
    /// built. Returns 0 if there is no spool.
    ///
    /// The records are sent before new records. Some of them may be in the stream already, see the
    /// [module](crate::spool#duplicates).
    #[cfg(feature = "spool")]
    #[must_use]
    pub fn recovered(&self) -> u64 {
        self.channel().spooling.as_ref().map_or(0, |spooling| spooling.recovered())
    }

    /// Returns a watch of the producer's [condition](crate::status::Condition).
    #[must_use]
    pub fn watch(&self) -> ConditionWatch {
        self.channel().condition().watch()
    }

    /// Sends a record, waiting until the buffer has capacity for it.
    ///
    /// The future completes when the record is accepted, not when it is delivered. Use [`put`](Self::put) to get a
    /// receipt that completes with the outcome.
    ///
    /// With a spool, the future completes when the record is on disk, as durable as
    /// `Sync` says.
    ///
    /// # Errors
    ///
    /// The error contains [the record](Error::into_record). Its kind is
    ///
    /// - [`RecordTooLarge`](crate::ErrorKind::RecordTooLarge) or
    ///   [`InvalidPartitionKey`](crate::ErrorKind::InvalidPartitionKey) if the record can never be sent;
    /// - [`Refused`](crate::ErrorKind::Refused) if the service refuses every request and the producer retries;
    /// - [`Undelivered`](crate::ErrorKind::Undelivered) if failed records that have not been taken use up the buffer,
    ///   the share of the record's shard, or the producer's share of a [budget](crate::budget);
    /// - [`SpoolFull`](crate::ErrorKind::SpoolFull) if the spool is full and refuses
    ///   records;
    /// - [`Closed`](crate::ErrorKind::Closed), [`Stopped`](crate::ErrorKind::Stopped) or
    ///   [`Abandoned`](crate::ErrorKind::Abandoned) if the producer has ended.
    ///
    /// With a spool, the kinds `Refused` and `Undelivered` do not occur, because the record waits on disk. An `Abandoned`
    /// error contains no record if the thread of the spool ended while it wrote the record.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is ready, the record is not accepted and is dropped. With a spool, a record that
    /// is being written at this time is sent nevertheless.
    pub async fn send(&self, record: Record) -> Result<(), Error> {
        let (record, admission, permit) = self.admit(record).await?;
        self.channel().push_written(record, admission, permit).await
    }

    /// Sends a record, waiting until the buffer has capacity for it, and returns its receipt.
    ///
    /// The future completes when the record is accepted. The receipt completes when the record is settled.
    ///
    /// With a spool, the future completes when the record is on disk, as durable as
    /// `Sync` says.
    ///
    /// A record has at most one receipt, so a receipt that the record [already has](Record::tracked) completes as if
    /// the record had been dropped. To keep the existing receipt, use [`send`](Self::send).
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`send`](Self::send).
    ///
    /// # Cancel safety
    ///
    /// See [`send`](Self::send).
    pub async fn put(&self, record: Record) -> Result<Receipt, Error> {
        let (record, admission, permit) = self.admit(record).await?;
        let (record, receipt) = record.tracked();
        self.channel().push_written(record, admission, permit).await?;
        Ok(receipt)
    }

    /// Tries to send a record without waiting.
    ///
    /// The record is accepted only if the [share of its shard](Self#backpressure) has capacity, and no other task is
    /// waiting for this capacity.
    ///
    /// With a spool, the record is only staged to be written. [`flush`](Self::flush) and
    /// the receipt of [`try_put`](Self::try_put) cover its delivery.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`send`](Self::send), and [`ErrorKind::Full`](crate::ErrorKind::Full) if `send` would
    /// wait.
    pub fn try_send(&self, record: Record) -> Result<(), Error> {
        let (record, admission, permit) = self.try_admit(record)?;
        self.channel().push(record, admission, permit)
    }

    /// Tries to send a record like [`try_send`](Self::try_send), and returns the receipt of the record.
    ///
    /// As with [`put`](Self::put), an earlier receipt of the record completes as if the record had been dropped.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`try_send`](Self::try_send).
    pub fn try_put(&self, record: Record) -> Result<Receipt, Error> {
        let (record, admission, permit) = self.try_admit(record)?;
        let (record, receipt) = record.tracked();
        self.channel().push(record, admission, permit).map(|()| receipt)
    }

    async fn admit(&self, record: Record) -> Result<(Record, Admission, Permit), Error> {
        // A caller that sends in a loop must let the driver run, even if the buffer always has capacity.
        consume_budget().await;
        let record = self.channel().check(record).await?;
        let mut admission = self.channel().capacity.admission(&record);
        match self.channel().reserve(&mut admission, record.size()).await {
            Ok(permit) => Ok((record, admission, permit)),
            Err(rejection) => Err(self.channel().rejected(record, rejection)),
        }
    }

    fn try_admit(&self, record: Record) -> Result<(Record, Admission, Permit), Error> {
        let record = self.channel().check_now(record)?;
        let mut admission = self.channel().capacity.admission(&record);
        match self.channel().try_reserve_or_notify(&mut admission, record.size()) {
            Ok(permit) => Ok((record, admission, permit)),
            Err(rejection) => Err(self.channel().rejected(record, rejection)),
        }
    }

    /// Waits until all records accepted before the call, through any handle, are settled.
    ///
    /// This includes records that are only in the spool. Records accepted later do not
    /// delay the flush. A flush does not shorten the linger, because the driver flushes
    /// the sink continuously.
    ///
    /// # Errors
    ///
    /// Returns
    ///
    /// - [`Undelivered`](crate::ErrorKind::Undelivered) if there are failed records that have not been
    ///   [taken](Self::take_failed);
    /// - [`Refused`](crate::ErrorKind::Refused) if the service refuses every request and the producer retries;
    /// - [`Stopped`](crate::ErrorKind::Stopped) or [`Abandoned`](crate::ErrorKind::Abandoned) if the producer has
    ///   ended.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn flush(&self) -> Result<(), Error> {
        self.detached_flush().await
    }

    /// Takes the failed records that were not returned by a receipt or passed to the dead-letter handler.
    ///
    /// Returns the permanently failed records in the order in which they were accepted. With a
    /// spool, they stay on disk until they are taken, and are sent again after a restart
    /// if they are not. They count towards the buffer
    /// bounds until they are taken. After the producer has ended, this method also returns all other undelivered
    /// records that have no receipt.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not lose records: the next call returns them.
    #[must_use = "the records are no longer in the producer"]
    pub async fn take_failed(&self) -> Vec<Undelivered> {
        self.channel().collect_failed().await;
        self.channel().take_collected()
    }

    /// Closes the producer, and waits until all accepted records are settled and the driver has ended.
    ///
    /// When the future is polled for the first time, all handles stop accepting records. This method can be called on
    /// any handle, any number of times.
    ///
    /// With a spool, this includes the records on disk, and the directory is released.
    /// To leave the rest to the next run, use [`close_within`](Self::close_within), with a deadline of zero if the close
    /// must be instant.
    ///
    /// During an outage, `close` waits until the outage ends, unless a [deadline](crate::Settings::deadline) is set.
    /// Use [`close_within`](Self::close_within) to limit the time.
    ///
    /// # Errors
    ///
    /// Returns
    ///
    /// - [`Undelivered`](crate::ErrorKind::Undelivered) if records were not delivered;
    /// - [`Stopped`](crate::ErrorKind::Stopped) if the producer has stopped because the service refuses every request;
    /// - [`Abandoned`](crate::ErrorKind::Abandoned) if the driver ended early.
    ///
    /// The error contains the [undelivered records](Error::undelivered) that have not been returned by an earlier call
    /// or a receipt. [`Error::count`] returns the number of all undelivered records.
    ///
    /// # Cancel safety
    ///
    /// The first poll closes the producer. If the future is dropped afterwards, the driver continues to drain the
    /// accepted records. No record is lost: the next call returns the undelivered records.
    pub async fn close(&self) -> Result<(), Error> {
        self.channel().close(StopReason::Closed);
        self.channel().ended().await;
        self.channel().released().await;
        self.channel().take_result()
    }

    /// Closes the producer, and withdraws the records that are not settled within `deadline`.
    ///
    /// After the deadline, requests in flight are abandoned, and the unsettled records are returned in the error. Their
    /// receipts complete with [`FailureReason::Withdrawn`](crate::record::FailureReason::Withdrawn). Records of
    /// abandoned requests [may have been written](Undelivered::may_have_been_written).
    ///
    /// With a spool, the unsettled records stay in the spool instead, and are no error.
    /// Their receipts complete with [`FailureReason::Spooled`](crate::record::FailureReason::Spooled).
    ///
    /// This method completes only after the driver has been polled or dropped, because the driver withdraws the
    /// records.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`close`](Self::close).
    ///
    /// # Panics
    ///
    /// Panics if it is called outside of a tokio runtime or if the timer of the runtime is disabled.
    ///
    /// # Cancel safety
    ///
    /// See [`close`](Self::close). If the future is dropped before the deadline, no record is withdrawn.
    pub async fn close_within(&self, deadline: Duration) -> Result<(), Error> {
        match tokio::time::timeout(deadline, self.close()).await {
            Ok(closed) => closed,
            Err(_) => {
                self.channel().abort();
                self.close().await
            }
        }
    }

    /// Waits until the producer no longer accepts records. Does not close the producer.
    ///
    /// A producer no longer accepts records if it was closed, if it has stopped because the service refuses every
    /// request, or if its driver has ended.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn closed(&self) {
        let mut state = self.channel().watch();
        // `wait_for` cannot fail, because `self` owns the sender.
        let _ = state.wait_for(State::is_stopped).await;
    }

    /// Returns `true` if the producer no longer accepts records, because it was closed or has ended.
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
