mod builder;
mod coop;
mod core;
mod discovery;
mod drive_skip;
mod fatal_policy;
mod membership;
mod readiness;
mod report;
mod requests;

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use aws_sdk_kinesis::Client;
use futures::Sink;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep_until};
use tracing::trace;

pub use builder::{DefaultService, SinkBuilder};
pub(crate) use coop::{poll_units, yield_to_others};
pub(crate) use core::{Core, Snapshot};
pub use fatal_policy::FatalPolicy;

use self::readiness::Readiness;
use crate::build_error::BuildError;
use crate::error::Error;
use crate::limits::Limits;
use crate::record::{Record, Undelivered};
use crate::service::PutRecordsService;
use crate::status::{ConditionWatch, Status, Totals};
use crate::stream::StreamId;
use crate::trace::TARGET;

/// A [`Sink`] that sends records to one Kinesis stream.
///
/// The sink batches records into full PutRecords requests and retries entries that are throttled or fail. The buffer is
/// bounded; when it is full, the sink applies backpressure to the source. Each request runs in a spawned task, so it
/// completes even while the sink is not polled. Retries and lingering records are sent only while the sink is polled.
/// Use a [`Producer`](crate::Producer) to poll the sink in a separate task and to share it between tasks.
///
/// `S` is the type of the service stack that sends the requests, see [`SinkBuilder::build_with`]. The sink is `Unpin`,
/// so it can be used again after `forward(&mut sink)`.
///
/// ```no_run
/// use futures::{StreamExt, stream};
/// use kinesis_sink::{KinesisSink, Record};
///
/// # async fn run(client: aws_sdk_kinesis::Client) -> Result<(), Box<dyn std::error::Error>> {
/// let mut sink = KinesisSink::new(&client, "example")?;
/// let lines = stream::iter(["one", "two", "three"]);
/// lines.map(Record::from).map(Ok).forward(&mut sink).await?;
/// assert_eq!(sink.totals().delivered, 3);
/// # Ok(())
/// # }
/// ```
///
/// # Poll methods
///
/// All poll methods make progress: they process responses, requeue failed entries and send requests.
///
/// - `poll_ready` returns `Ready` while the buffer is below its bounds. If the settings require the stream description
///   or the shard list, it first waits for them. Each `Ready` uses one unit of tokio's
///   [cooperative budget](tokio::task::coop). When the task has used up its budget, `poll_ready` returns `Pending` and
///   wakes the task, even if the buffer has capacity. Code that calls `poll_ready` more than a hundred times without
///   yielding, for example with `now_or_never`, needs [`unconstrained`](tokio::task::unconstrained).
/// - `start_send` stores the record and does no I/O. If the record can never be sent, or if the buffer is full, the
///   record is returned in the error and the sink remains usable.
/// - `poll_flush` returns `Ready` when every accepted record is settled: delivered or permanently failed. If the sink
///   keeps failed records, `poll_flush` returns an error once, after all other records are settled.
/// - `poll_close` flushes without waiting for the [linger](crate::settings::Linger). After the first call of
///   `poll_close`, `start_send` returns each record with [`ErrorKind::Closed`](crate::ErrorKind::Closed). `poll_ready`
///   still returns `Ready(Ok)` until `poll_close` has returned `Ok`, because adapters such as
///   [`SinkExt::buffer`](futures::SinkExt::buffer) call `poll_ready` while they close. Afterwards `poll_ready` returns
///   an error.
///
/// # Errors
///
/// [`Error`] describes the possible errors. An error does not lose accepted records, and the sink can be used
/// afterwards. If `poll_ready` fails, the futures `forward` and `send_all` drop the item that they were about to send,
/// because the sink has not accepted it yet.
///
/// # Panics
///
/// The poll methods panic when called outside of a tokio runtime or if the runtime's timer is disabled. A sink can be
/// moved to another runtime. Its requests in flight and its stream lookups stay in the runtime that started them.
///
/// # Cancel safety
///
/// Dropping a future of the sink (`send`, `flush`, `forward(&mut sink)`) does not lose accepted records: they stay in
/// the sink, and requests in flight continue. Dropping the sink abandons the records in its buffer and logs a warning
/// with their number. To avoid this, call `close` first, or take the records with
/// [`take_undelivered`](Self::take_undelivered).
pub struct KinesisSink<S = DefaultService> {
    service: Readiness<S>,
    pub(crate) core: Box<Core>,
}

impl<S> Unpin for KinesisSink<S> {}

impl KinesisSink {
    /// Creates a sink with default settings. `stream` is a stream name, an ARN or a [`StreamId`].
    ///
    /// The sink uses the client's configuration, except for its retry settings, because the sink retries requests
    /// itself.
    ///
    /// # Errors
    ///
    /// Returns [`BuildError::Stream`] if `stream` is neither a name nor an ARN, [`BuildError::NoRegion`] if the client
    /// has no region, and [`BuildError::Region`] if the region of the ARN differs from the client's.
    pub fn new<T>(client: &Client, stream: T) -> Result<Self, BuildError>
    where
        T: TryInto<StreamId, Error: Into<BuildError>>,
    {
        Self::builder(stream).build(client)
    }

    /// Creates a sink with the region and credentials from the environment, and [checks](Self::check) the stream.
    ///
    /// The sink has default settings; use [`SinkBuilder::build_from_env`] to change them. Requires the feature
    /// `aws-config`, which is enabled by default.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Build`](crate::ErrorKind::Build) in the cases in which [`new`](Self::new) returns an error.
    /// Returns [`ErrorKind::Unusable`](crate::ErrorKind::Unusable) if the check fails, for example because the stream
    /// does not exist, the endpoint cannot be reached, or no credentials are found.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    #[cfg(feature = "aws-config")]
    pub async fn from_env<T>(stream: T) -> Result<Self, Error>
    where
        T: TryInto<StreamId, Error: Into<BuildError>>,
    {
        Self::builder(stream).build_from_env().await
    }

    /// Returns a builder for a sink. `stream` is a stream name, an ARN or a [`StreamId`].
    ///
    /// If `stream` is invalid, the builder's `build` methods return the error.
    pub fn builder<T>(stream: T) -> SinkBuilder
    where
        T: TryInto<StreamId, Error: Into<BuildError>>,
    {
        SinkBuilder::new(stream)
    }
}

impl<S> KinesisSink<S> {
    /// Returns the stream that the sink sends records to.
    #[must_use]
    pub fn stream(&self) -> &StreamId {
        self.core.pipeline.stream()
    }

    /// Returns the limits that are in effect.
    ///
    /// The [stream description](SinkBuilder::with_stream_info) can change the record size limit.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.core.pipeline.settings().limits
    }

    /// Checks that the stream can be reached and accepts records.
    ///
    /// `KinesisSink::from_env` (feature `aws-config`) performs this check. Programs that create the sink in another way
    /// should call this method at startup. Without the check, a wrong endpoint would only appear in the log, because a
    /// sink retries indefinitely during an outage.
    ///
    /// The check calls DescribeStreamSummary, sends no record and takes at most 10 s. It also succeeds if this
    /// operation is denied or throttled, if the service is failing, or if a sink with a [custom
    /// stack](SinkBuilder::build_with) has no [source](SinkBuilder::with_stream_info) that describes the stream. The
    /// [guide](crate::guide::failures#the-first-request-fails) lists the errors.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Unusable`](crate::ErrorKind::Unusable) if the check fails. The error message names the
    /// cause and the fix.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the request and has no other effect.
    pub fn check(&self) -> impl Future<Output = Result<(), Error>> + Send + use<S> {
        let check = self.core.check.clone();
        async move { check.run().await.map_err(Error::from) }
    }

    /// Returns the status: the number of buffered records, the totals, the latest request, and the condition.
    #[must_use]
    pub fn status(&self) -> Status {
        self.core.status()
    }

    /// Returns the counts of records and requests since the sink was built.
    ///
    /// The [status](Self::status) includes these counts.
    #[must_use]
    pub fn totals(&self) -> &Totals {
        self.core.pipeline.ledger().totals()
    }

    /// Returns the number of records that were found in the [spool](SinkBuilder::with_spool) when the sink was built.
    /// Returns 0 if the sink has no spool.
    ///
    /// The records are sent once the sink was converted into a producer.
    #[cfg(feature = "spool")]
    #[must_use]
    pub fn recovered(&self) -> u64 {
        self.core.spool.as_ref().map_or(0, |spool| spool.recovered())
    }

    /// Returns a watch for the sink's [condition](crate::status::Condition).
    ///
    /// The watch can be used in any task, but the condition changes only while the sink is polled.
    #[must_use]
    pub fn watch(&self) -> ConditionWatch {
        self.core.condition.watch()
    }

    /// Returns all records in the buffer (queued, in flight, failed), in the order of acceptance.
    ///
    /// The records stay in the sink. Use [`take_undelivered`](Self::take_undelivered) to take them out.
    #[must_use = "the records stay in the sink; `take_undelivered` takes them"]
    pub fn buffered_records(&self) -> Vec<&Record> {
        self.core.pipeline.undelivered()
    }

    /// Takes the permanently failed records that were neither returned by a receipt nor passed to the dead-letter
    /// handler.
    ///
    /// The records are in the order of acceptance. Until they are taken, they count towards the buffer bounds.
    #[must_use = "the records are no longer in the sink"]
    pub fn take_failed(&mut self) -> Vec<Undelivered> {
        let failed = self.core.pipeline.take_failed();
        self.core.settle_budget();
        failed
    }

    /// Takes all records in the buffer (queued, in flight, failed), in the order of acceptance.
    ///
    /// Afterwards the sink is empty and can still be used. Records that were not settled fail with the reason
    /// [`Withdrawn`](crate::record::FailureReason::Withdrawn), and their receipts complete with the same reason.
    ///
    /// Requests in flight are abandoned unless their response has arrived. Their records
    /// [may have been written](Undelivered::may_have_been_written), so sending them again can cause duplicates. If the
    /// sink is waiting for a shared service stack to become ready, it loses its place in the queue.
    #[must_use = "the records are no longer in the sink"]
    pub fn take_undelivered(&mut self) -> Vec<Undelivered> {
        self.service.release();
        self.core.take_undelivered()
    }

    /// Releases the place in the queue of a shared service stack.
    #[cfg(feature = "spool")]
    pub(crate) fn release_service(&mut self) {
        self.service.release();
    }

    /// Boxes the service stack, so that it no longer appears in the type of the sink.
    ///
    /// ```
    /// use kinesis_sink::KinesisSink;
    /// use tower::limit::ConcurrencyLimitLayer;
    ///
    /// # fn run(client: aws_sdk_kinesis::Client) -> Result<(), kinesis_sink::BuildError> {
    /// let limit = ConcurrencyLimitLayer::new(2);
    /// let sink: KinesisSink = KinesisSink::builder("example").build_with_layer(&client, limit)?.boxed();
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn boxed(self) -> KinesisSink
    where
        S: PutRecordsService + Clone + Send + Sync + 'static,
    {
        let Self { service, core } = self;
        KinesisSink { service: service.boxed(), core }
    }
}

impl<S> KinesisSink<S>
where
    S: PutRecordsService,
{
    /// Drives the sink until it has to wait. On return, the waker is registered for every event that the sink waits
    /// for, or was woken because the task's budget is used up.
    fn drive(&mut self, cx: &mut Context<'_>) {
        self.drive_until_idle(cx);
        // A producer's driver publishes the condition itself, after the rest of its state.
        if !self.core.is_driven {
            self.core.publish_condition();
        }
    }

    fn drive_until_idle(&mut self, cx: &mut Context<'_>) {
        self.core.drive_skip.begin();
        loop {
            let now = Instant::now().into_std();
            // Must precede `collect`, because a new failure would extend an outage that has already ended.
            self.core.log_reports(now);
            // Must precede `dispatch`, because a response can start a backoff. The next iteration registers the waker
            // for the requests that `dispatch` sends.
            let mut budget = self.collect(cx, now);
            let discovered = self.core.drive_discovery(cx, now);
            self.core.pipeline.advance(now);
            let mut has_sent = false;
            if budget.is_ready() {
                budget = self.dispatch(cx, now, &mut has_sent);
            }
            // Must precede `timer_fired`, which sets the timer for the next report.
            self.core.log_reports(now);
            if budget.is_pending() {
                self.core.measure_if_due(now);
                return;
            }
            if !has_sent && !self.timer_fired(cx, now) && !discovered {
                let wakeup = self.core.timer.as_ref().map(|(timer, _)| timer.deadline().into_std());
                self.core.drive_skip.finish(wakeup, now);
                self.core.measure_if_due(now);
                return;
            }
        }
    }

    /// Sends requests. Returns `Pending` if the budget is used up. Sets `has_sent` if a request was sent or if the
    /// service failed to become ready.
    fn dispatch(
        &mut self,
        cx: &mut Context<'_>,
        now: std::time::Instant,
        has_sent: &mut bool,
    ) -> Poll<()> {
        loop {
            if self.poll_budget(cx).is_pending() {
                // The task has been woken and polls again soon, so it keeps its place in the queue of a shared service.
                self.service.release_permit();
                return Poll::Pending;
            }
            if !self.core.pipeline.wants_to_send(now) {
                break;
            }
            if self.core.poll_request_permit(cx).is_pending() {
                self.service.release();
                return Poll::Ready(());
            }
            match self.service.poll(cx) {
                Poll::Pending => {
                    // Other sinks can use the permit until the service is ready.
                    self.core.release_request_permit();
                    return Poll::Ready(());
                }
                Poll::Ready(Err(error)) => {
                    self.core.pipeline.fail_service(error, now);
                }
                // The request is built only now, so that it includes the records accepted while the service was busy.
                Poll::Ready(Ok(())) => {
                    // `Handle::current` panics outside of a runtime, so it must be called before the request is built.
                    let runtime = Handle::current();
                    let Some((id, request, reason)) = self.core.pipeline.next_request(now) else {
                        if self.core.pipeline.is_unfinished() {
                            continue;
                        }
                        break;
                    };
                    #[cfg(feature = "metrics")]
                    let request = request.with_shared_label(self.core.shares_label);
                    let entries = request.entries().len();
                    trace!(target: TARGET, ?reason, entries, "request sent");
                    let permit = self.core.take_request_permit();
                    match self.service.call(request) {
                        Some(call) => self.core.requests.spawn(id, call, permit, &runtime),
                        None => self.core.requests.spawn_panicked(id, &runtime),
                    }
                }
            }
            *has_sent = true;
        }
        // The sink has nothing to send, so it releases its places in the queues of a shared budget and of a shared service.
        self.core.release_request_permit();
        self.service.release();
        Poll::Ready(())
    }

    /// Settles completed requests. Returns `Pending` if the task's budget is used up.
    fn collect(&mut self, cx: &mut Context<'_>, now: std::time::Instant) -> Poll<()> {
        while let Poll::Ready(Some((id, outcome))) = self.core.requests.poll_next(cx) {
            self.core.pipeline.settle(id, outcome, now);
            ready!(self.poll_budget(cx));
        }
        Poll::Ready(())
    }

    /// Charges the work done so far to the task's budget.
    fn poll_budget(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        poll_units(cx, self.core.pipeline.take_work())
    }

    /// Yields if the task's budget is used up, because a source that is always ready could starve other tasks.
    fn poll_proceed(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        poll_units(cx, 1 + self.core.pipeline.take_work()).map(Ok)
    }

    /// Sets the timer to the pipeline's next wakeup. Returns `true` if the wakeup has been reached.
    fn timer_fired(&mut self, cx: &mut Context<'_>, now: std::time::Instant) -> bool {
        let Some(at) = self.core.pipeline.wakeup(now) else {
            self.core.timer = None;
            return false;
        };
        let at = Instant::from_std(at);
        let runtime = Handle::current().id();
        let timer = self.core.timer.get_or_insert_with(|| (Box::pin(sleep_until(at)), runtime));
        if timer.0.deadline() != at || timer.1 != runtime {
            // `reset` would not be enough: a sink that was moved to another runtime needs a timer of that runtime.
            timer.0.set(sleep_until(at));
            timer.1 = runtime;
        }
        timer.0.as_mut().poll(cx).is_ready()
    }

    pub(crate) fn drive_and_flush(&mut self, cx: &mut Context<'_>, flush: bool) {
        if flush {
            self.core.pipeline.flush();
        }
        self.drive(cx);
    }

    /// Waits for capacity of the shared budget, if any. Sends partial requests while it waits.
    fn poll_budget_capacity(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Error> {
        let capacity = self.core.poll_budget(cx);
        self.core.pipeline.set_waits_for_budget(capacity.is_pending());
        if capacity.is_pending() && self.core.pipeline.wants_to_send(Instant::now().into_std()) {
            self.drive(cx);
            // Nothing wakes a sink that is refused, and the release of settled records wakes this one.
            if let Err(error) = self.core.report() {
                self.core.release_budget_capacity();
                return Err(error);
            }
        }
        Ok(capacity)
    }

    /// Returns `true` if `poll_ready` can return `Ready` without driving the sink.
    fn take_skip(&mut self) -> bool {
        self.core.drive_skip.take_skip()
            && self.core.membership.is_none()
            && self.core.pipeline.has_capacity()
            && !self.core.pipeline.wants_to_send_full()
            && self.core.pipeline.topology().is_ready()
    }

    /// Drives the sink until every accepted record is settled, then reports failed records.
    fn poll_settled(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.drive(cx);
        self.core.report()?;
        if !self.core.pipeline.is_settled() {
            return Poll::Pending;
        }
        if self.core.pipeline.is_closing() {
            self.core.log_last_report();
        }
        Poll::Ready(match self.core.pipeline.settlement_mut().take_unreported_failure() {
            Some(reason) => Err(self.core.failed_error(reason)),
            None => Ok(()),
        })
    }
}

impl<S> Sink<Record> for KinesisSink<S>
where
    S: PutRecordsService,
{
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.core.closed {
            return Poll::Ready(Err(Error::closed()));
        }
        #[cfg(feature = "spool")]
        if self.core.spool.is_some() {
            return Poll::Ready(Err(Error::needs_producer().with_stream(self.stream().clone())));
        }
        if self.core.pipeline.is_closing() {
            // Adapters call `poll_ready` before each `poll_close`, so an error here would interrupt the close.
            return Poll::Ready(Ok(()));
        }
        if self.take_skip() {
            return self.poll_proceed(cx);
        }
        self.drive(cx);
        self.core.report()?;
        if !self.core.pipeline.topology().is_ready() {
            return Poll::Pending;
        }
        if self.core.pipeline.has_capacity() {
            if self.poll_budget_capacity(cx)?.is_ready() {
                return self.poll_proceed(cx);
            }
            if let Some(reason) = self.core.budget_used_up_by_failed() {
                self.core.release_budget_capacity();
                return Poll::Ready(Err(self.core.failed_error(reason)));
            }
            return Poll::Pending;
        }
        if let Some(reason) = self.core.pipeline.blocked_by_failed() {
            // The buffer is full of failed records that only the caller can take, so `Pending` would last forever.
            let reason = reason.clone();
            return Poll::Ready(Err(self.core.failed_error(reason)));
        }
        Poll::Pending
    }

    fn start_send(mut self: Pin<&mut Self>, record: Record) -> Result<(), Error> {
        #[cfg(feature = "spool")]
        if self.core.spool.is_some() {
            let error = Error::needs_producer().with_stream(self.stream().clone());
            return Err(error.with_record(record));
        }
        let now = Instant::now().into_std();
        self.core.drive_skip.record_arrived(now);
        let size = record.size();
        self.core.pipeline.accept(record, now)?;
        self.core.charge_budget(size);
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.core.pipeline.flush();
        self.core.release_budget_capacity();
        self.poll_settled(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.core.pipeline.close();
        self.core.release_budget_capacity();
        let closed = self.poll_settled(cx);
        self.core.closed |= matches!(closed, Poll::Ready(Ok(())));
        self.core.publish_condition();
        closed
    }
}

impl<S> fmt::Debug for KinesisSink<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Status { stream, condition, queued, in_flight, failed, .. } = self.status();
        f.debug_struct("KinesisSink")
            .field("stream", &stream)
            .field("condition", &condition)
            .field("queued", &queued.records)
            .field("in_flight", &in_flight.records)
            .field("failed", &failed.records)
            .finish_non_exhaustive()
    }
}
