//! `futures::Sink` over the pipeline.

mod budget;
mod builder;
mod core;
mod discovery;
mod drive_skip;
mod fatal_policy;
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

pub(crate) use budget::{poll_units, yield_to_others};
pub use builder::{DefaultService, SinkBuilder};
pub(crate) use core::{BufferChange, Core, Snapshot};
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

/// A [`Sink`] of records into one Kinesis stream.
///
/// The sink batches records into full PutRecords requests, and retries entries that are throttled or fail. Its buffer is
/// bounded, and a full buffer applies backpressure to the source. Requests in flight are spawned, so they complete while
/// the sink is not polled. Retries and lingering records are sent only while the sink is polled. A
/// [`Producer`](crate::Producer) has a task that polls its sink, and can be shared by tasks.
///
/// `S` is the stack of tower services below the sink, see [`SinkBuilder::build_with`]. The sink is `Unpin`, so it can be
/// used after `forward(&mut sink)`.
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
/// All poll methods make progress: they collect responses, requeue failed entries and send requests.
///
/// - `poll_ready` returns `Ready` while the buffer is below its bounds, once any required description and list of shards
///   has been fetched. Each `Ready` uses a unit of tokio's [cooperative budget](tokio::task::coop). When the budget of
///   the task is used up, `poll_ready` returns `Pending` and wakes the task, even if the buffer has capacity. Code that
///   polls it more than a hundred times without yielding, for example with `now_or_never`, needs
///   [`unconstrained`](tokio::task::unconstrained).
/// - `start_send` stores the record and does no I/O. A record that can never be sent, or that the full buffer cannot
///   store, is returned in the error. The sink remains usable.
/// - `poll_flush` returns `Ready` when every accepted record is settled: delivered, or failed for good. If failed records
///   are kept, it returns an error once, after all other records are settled.
/// - `poll_close` flushes without waiting for the [linger](crate::settings::Linger). After its first poll, `start_send`
///   returns each record with [`ErrorKind::Closed`](crate::ErrorKind::Closed). `poll_ready` returns `Ready(Ok)` until
///   `poll_close` has returned `Ok`, because adapters such as [`SinkExt::buffer`](futures::SinkExt::buffer) call it on
///   each close. Afterwards it returns an error.
///
/// # Errors
///
/// See [`Error`]. Errors do not lose accepted records and do not poison the sink. If `poll_ready` fails, `forward` and
/// `send_all` of futures drop the item that they were about to send. It was not accepted.
///
/// # Panics
///
/// The poll methods panic outside of a tokio runtime whose timer is enabled. A sink may be moved to another runtime. Its
/// requests in flight and its lookups of the stream remain in the runtime that started them.
///
/// # Cancel safety
///
/// Dropping a future of the sink (`send`, `flush`, `forward(&mut sink)`) does not lose accepted records: they stay in the
/// sink, and requests in flight continue. Dropping the sink abandons the records in its buffer, and logs a warning with
/// their number. Call `close` first, or take the records with [`take_undelivered`](Self::take_undelivered).
pub struct KinesisSink<S = DefaultService> {
    service: Readiness<S>,
    pub(crate) core: Box<Core>,
}

impl<S> Unpin for KinesisSink<S> {}

impl KinesisSink {
    /// Creates a sink into `stream`, a name, an ARN or a [`StreamId`], with default settings.
    ///
    /// The client's configuration applies, except for retries: the sink retries by itself.
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

    /// Creates a sink into `stream` with the region and credentials of the environment, and [checks](Self::check) the
    /// stream.
    ///
    /// The settings are the defaults. See [`SinkBuilder::build_from_env`]. Requires the feature `aws-config`, which is
    /// on by default.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Build`](crate::ErrorKind::Build) where [`new`](Self::new) returns an error, and
    /// [`ErrorKind::Unusable`](crate::ErrorKind::Unusable) if the check fails: the stream does not exist, the endpoint
    /// cannot be reached, or there are no credentials.
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

    /// Returns a builder of a sink into `stream`, a name, an ARN or a [`StreamId`].
    ///
    /// An invalid stream is reported when the sink is built.
    pub fn builder<T>(stream: T) -> SinkBuilder
    where
        T: TryInto<StreamId, Error: Into<BuildError>>,
    {
        SinkBuilder::new(stream)
    }
}

impl<S> KinesisSink<S> {
    /// Returns the stream.
    #[must_use]
    pub fn stream(&self) -> &StreamId {
        self.core.pipeline.stream()
    }

    /// Returns the limits in effect.
    ///
    /// The stream's [description](SinkBuilder::with_stream_info) can change them.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.core.pipeline.settings().limits
    }

    /// Checks that the stream can be reached and accepts records.
    ///
    /// `KinesisSink::from_env` (feature `aws-config`) includes this check. Other programs should run it at startup,
    /// because a sink retries outages indefinitely and reports a wrong endpoint only in its log.
    ///
    /// The check calls DescribeStreamSummary, sends no record and takes at most 10 s. It succeeds if that operation is
    /// denied or throttled, if the service is failing, and if a sink over a
    /// [custom stack](SinkBuilder::build_with) has no [source](SinkBuilder::with_stream_info) of descriptions. The
    /// [guide](crate::guide::failures#the-first-request-fails) lists the errors.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Unusable`](crate::ErrorKind::Unusable). The message names the cause and the fix.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the request and has no other effect.
    pub fn check(&self) -> impl Future<Output = Result<(), Error>> + Send + use<S> {
        let check = self.core.check.clone();
        async move { check.run().await.map_err(Error::from) }
    }

    /// Returns the status: the records in the buffer, totals, the latest request, and the condition.
    #[must_use]
    pub fn status(&self) -> Status {
        self.core.status()
    }

    /// Returns counts of records and requests since the sink was built, which the [status](Self::status) includes.
    #[must_use]
    pub fn totals(&self) -> &Totals {
        self.core.pipeline.ledger().totals()
    }

    /// Returns a watch of the sink's [condition](crate::status::Condition), which any task may use.
    ///
    /// The condition changes only while the sink is polled.
    #[must_use]
    pub fn watch(&self) -> ConditionWatch {
        self.core.condition.watch()
    }

    /// Returns every record in the buffer (queued, in flight, failed), in the order of acceptance.
    ///
    /// [`take_undelivered`](Self::take_undelivered) takes the records out of the sink.
    #[must_use = "the records stay in the sink; `take_undelivered` takes them"]
    pub fn buffered_records(&self) -> Vec<&Record> {
        self.core.pipeline.undelivered()
    }

    /// Takes the records that failed for good and went neither to a receipt nor to a dead-letter handler.
    ///
    /// They are in the order of acceptance, and count towards the bounds of the buffer until this method returns them.
    #[must_use = "the records are no longer in the sink"]
    pub fn take_failed(&mut self) -> Vec<Undelivered> {
        self.core.pipeline.take_failed()
    }

    /// Takes every record in the buffer (queued, in flight, failed), in the order of acceptance.
    ///
    /// The sink is empty afterwards and remains usable. The records that were not settled, and their receipts, have the
    /// reason [`Withdrawn`](crate::record::FailureReason::Withdrawn).
    ///
    /// Requests in flight are abandoned unless their response has arrived. Their records
    /// [may have been written](Undelivered::may_have_been_written), so sending them again can cause duplicates. A sink
    /// that waits for a busy stack of services loses its place in the queue.
    #[must_use = "the records are no longer in the sink"]
    pub fn take_undelivered(&mut self) -> Vec<Undelivered> {
        self.service.release();
        self.core.take_undelivered()
    }

    /// Boxes the stack of services, which removes it from the type of the sink.
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
    /// Collects responses, sends requests and sets the timer until the sink has to wait. The waker is then registered
    /// with everything that the sink waits for, or woken if the task's budget is used up.
    fn drive(&mut self, cx: &mut Context<'_>) {
        self.drive_until_idle(cx);
        // A driver publishes its state before the condition, for callers that read both.
        if !self.core.is_driven {
            self.core.publish_condition();
        }
    }

    fn drive_until_idle(&mut self, cx: &mut Context<'_>) {
        self.core.drive_skip.begin();
        loop {
            let now = Instant::now().into_std();
            // Before `collect`, so that a failure does not extend an outage that has already ended.
            self.core.log_reports(now);
            // Before `dispatch`, because a response may require backoff. The next iteration registers the waker with
            // the requests that `dispatch` sends.
            let mut budget = self.collect(cx, now);
            let discovered = self.core.drive_discovery(cx, now);
            self.core.pipeline.advance(now);
            let mut has_sent = false;
            if budget.is_ready() {
                budget = self.dispatch(cx, now, &mut has_sent);
            }
            // Before the timer is set for the next report.
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

    /// Sends requests. Returns `Pending` if the task's budget is used up. Sets `has_sent` if a request was sent, or the
    /// service failed to become ready.
    fn dispatch(
        &mut self,
        cx: &mut Context<'_>,
        now: std::time::Instant,
        has_sent: &mut bool,
    ) -> Poll<()> {
        loop {
            if self.poll_budget(cx).is_pending() {
                // A place in the queue of a shared service is kept, because the next poll follows at once.
                self.service.release_permit();
                return Poll::Pending;
            }
            if !self.core.pipeline.wants_to_send(now) {
                break;
            }
            match self.service.poll(cx) {
                Poll::Pending => return Poll::Ready(()),
                Poll::Ready(Err(error)) => {
                    self.core.pipeline.fail_service(error, now);
                }
                // The request is built only now, because it grows while the service is busy.
                Poll::Ready(Ok(())) => {
                    // Panics outside of a runtime, so it comes before the request is built.
                    let runtime = Handle::current();
                    let Some((id, request, reason)) = self.core.pipeline.next_request(now) else {
                        if self.core.pipeline.is_unfinished() {
                            continue;
                        }
                        break;
                    };
                    let entries = request.entries().len();
                    trace!(target: TARGET, ?reason, entries, "request sent");
                    match self.service.call(request) {
                        Some(call) => self.core.requests.spawn(id, call, &runtime),
                        None => self.core.requests.spawn_panicked(id, &runtime),
                    }
                }
            }
            *has_sent = true;
        }
        // Other users of a shared service get the place in the queue.
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

    /// Charges the task's budget for the work done. Wakes the waker and returns `Pending` if it is used up.
    fn poll_budget(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        poll_units(cx, self.core.pipeline.take_work())
    }

    /// Returns `Ready` unless the task's budget is used up, so that a source that is always ready lets other tasks run.
    fn poll_proceed(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        poll_units(cx, 1 + self.core.pipeline.take_work()).map(Ok)
    }

    /// True if the time has come for something.
    fn timer_fired(&mut self, cx: &mut Context<'_>, now: std::time::Instant) -> bool {
        let Some(at) = self.core.pipeline.wakeup(now) else {
            self.core.timer = None;
            return false;
        };
        let at = Instant::from_std(at);
        let runtime = Handle::current().id();
        let timer = self.core.timer.get_or_insert_with(|| (Box::pin(sleep_until(at)), runtime));
        if timer.0.deadline() != at || timer.1 != runtime {
            // Not `reset`, because a sink that was moved needs a timer of its present runtime.
            timer.0.set(sleep_until(at));
            timer.1 = runtime;
        }
        timer.0.as_mut().poll(cx).is_ready()
    }

    /// Drives the sink. `flush` sends requests that are not full.
    pub(crate) fn drive_and_flush(&mut self, cx: &mut Context<'_>, flush: bool) {
        if flush {
            self.core.pipeline.flush();
        }
        self.drive(cx);
    }

    /// Returns `true` if `poll_ready` may return `Ready` without driving the sink.
    fn take_skip(&mut self) -> bool {
        self.core.drive_skip.take_skip()
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
        if self.core.pipeline.is_closing() {
            // Adapters call this before each `poll_close`, so an error would interrupt the close.
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
            return self.poll_proceed(cx);
        }
        if let Some(reason) = self.core.pipeline.blocked_by_failed() {
            // Only the owner can free capacity, so `Pending` would last forever.
            let reason = reason.clone();
            return Poll::Ready(Err(self.core.failed_error(reason)));
        }
        Poll::Pending
    }

    fn start_send(mut self: Pin<&mut Self>, record: Record) -> Result<(), Error> {
        let now = Instant::now().into_std();
        self.core.drive_skip.record_arrived(now);
        self.core.pipeline.accept(record, now)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.core.pipeline.flush();
        self.poll_settled(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.core.pipeline.close();
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
