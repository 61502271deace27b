//! The sink: a thin poll shell over the pipeline.

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
/// Records are batched into full PutRecords requests, and entries that are throttled or fail are sent again. Memory is
/// bounded, so a slow stream makes the source wait. Requests in flight are spawned and complete while the source is
/// idle; retries and lingering records are sent only while the sink is polled. A [`Producer`](crate::Producer) has a
/// task that polls its sink, and can be shared by tasks.
///
/// `S` is the stack of tower services below it, see [`SinkBuilder::build_with`]. The sink is `Unpin`, so
/// `forward(&mut sink)` leaves it with its owner.
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
/// # The poll methods
///
/// All of them make progress: they collect responses, requeue failed entries and send the requests that are
/// due.
///
/// - `poll_ready` is ready while the buffer has room, once the stream is described and its shards are listed, if the
///   settings need that.
///   Each time that it is ready it takes a unit of tokio's [cooperative budget](tokio::task::coop). When the task has
///   used up its budget, `poll_ready` is pending and wakes the task, although there is room. Code that polls it more
///   than a hundred times without yielding, for example with `now_or_never`, needs
///   [`unconstrained`](tokio::task::unconstrained).
/// - `start_send` stores the record and does no I/O. It returns a record that can never be sent, or that exceeds the
///   buffer, in the error; the sink stays usable.
/// - `poll_flush` is ready when every accepted record is settled: delivered, or failed for good. If failed records are
///   kept, it returns an error once, after all other records are settled.
/// - `poll_close` flushes, without waiting for the [linger](crate::settings::Linger). From its first poll on,
///   `start_send` returns each record with [`ErrorKind::Closed`](crate::ErrorKind::Closed). `poll_ready` stays ready
///   until `poll_close` has returned `Ok`, because adapters such as [`SinkExt::buffer`](futures::SinkExt::buffer) call
///   it each time they are closed; afterwards it returns an error.
///
/// # Errors
///
/// See [`Error`]. Errors neither lose an accepted record nor poison the sink. However, `forward` and `send_all` of
/// futures drop the item that they hold when `poll_ready` fails; that item was not accepted.
///
/// # Panics
///
/// The poll methods panic outside of a tokio runtime whose timer is enabled. A sink may be moved to another runtime,
/// but its requests in flight and its lookups of the stream stay in the runtime that started them.
///
/// # Cancel safety
///
/// Dropping a future of the sink (`send`, `flush`, `forward(&mut sink)`) loses no accepted record: records stay in the
/// sink, and requests in flight continue. Dropping the sink abandons the records in its buffer and logs a warning with
/// their number. Call `close` first, or take the records with [`take_undelivered`](Self::take_undelivered).
pub struct KinesisSink<S = DefaultService> {
    service: Readiness<S>,
    pub(crate) core: Box<Core>,
}

impl<S> Unpin for KinesisSink<S> {}

impl KinesisSink {
    /// Creates a sink into `stream`, a name, an ARN or a [`StreamId`], with default settings.
    ///
    /// The client's configuration applies, except for retries, which the sink does itself.
    ///
    /// # Errors
    ///
    /// Returns [`BuildError::Stream`] if `stream` is neither a name nor an ARN, [`BuildError::NoRegion`] if the client
    /// has no region, and [`BuildError::Region`] if the ARN has another one.
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
    /// Returns [`ErrorKind::Build`](crate::ErrorKind::Build) where [`new`](Self::new) fails, and
    /// [`ErrorKind::Unusable`](crate::ErrorKind::Unusable) if the check fails: no such stream, an endpoint that
    /// cannot be reached, no credentials.
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

    /// Returns the limits of a request and of a record that are in effect. The stream's
    /// [description](SinkBuilder::with_stream_info) can change them.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.core.pipeline.settings().limits
    }

    /// Checks that the stream can be reached and accepts records.
    ///
    /// `KinesisSink::from_env` (feature `aws-config`) does this. Other programs should call it when they start: a sink retries
    /// outages indefinitely, and reports a wrong endpoint only in its log.
    ///
    /// It calls DescribeStreamSummary, sends no record and takes at most 10 s. It passes if that operation is denied or
    /// throttled, if the service is failing, and if a sink over a [custom stack](SinkBuilder::build_with) has no
    /// [source](SinkBuilder::with_stream_info) of descriptions. The
    /// [guide](crate::guide::failures#the-first-request-fails) has a table of the errors.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Unusable`](crate::ErrorKind::Unusable), with one sentence that says what is wrong and how
    /// to fix it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future abandons the request, which changes nothing.
    pub fn check(&self) -> impl Future<Output = Result<(), Error>> + Send + use<S> {
        let check = self.core.check.clone();
        async move { check.run().await.map_err(Error::from) }
    }

    /// Returns the status: what is buffered, totals, the latest request, and whether records are delivered.
    #[must_use]
    pub fn status(&self) -> Status {
        self.core.status()
    }

    /// Returns counts of records and requests since the sink was built.
    ///
    /// They are also in the [status](Self::status).
    #[must_use]
    pub fn totals(&self) -> &Totals {
        self.core.pipeline.ledger().totals()
    }

    /// Returns a watch of the sink's [condition](crate::status::Condition), for any task.
    ///
    /// The condition changes only while the sink is polled.
    #[must_use]
    pub fn watch(&self) -> ConditionWatch {
        self.core.condition.watch()
    }

    /// Returns every record in the buffer (queued, in flight, failed), in the order of acceptance.
    #[must_use = "this only looks; `take_undelivered` takes the records out"]
    pub fn undelivered(&self) -> Vec<&Record> {
        self.core.pipeline.undelivered()
    }

    /// Takes the records that failed for good and went neither to a receipt nor to a dead-letter handler.
    ///
    /// They are in the order of acceptance, and count towards the bounds of the buffer until this returns them.
    #[must_use = "the records are no longer in the sink"]
    pub fn take_failed(&mut self) -> Vec<Undelivered> {
        self.core.pipeline.take_failed()
    }

    /// Takes every record in the buffer (queued, in flight, failed), in the order of acceptance.
    ///
    /// The sink is empty afterwards and stays usable. Records that were not settled have the reason
    /// [`Withdrawn`](crate::record::FailureReason::Withdrawn), and so do their receipts.
    ///
    /// Requests in flight are abandoned unless their response has already come. Their records
    /// [may have been written](Undelivered::may_have_been_written), so sending them again can duplicate them. A sink
    /// that waits for a busy stack of services loses its place in the queue.
    #[must_use = "the records are no longer in the sink"]
    pub fn take_undelivered(&mut self) -> Vec<Undelivered> {
        self.service.give_up();
        self.core.take_undelivered()
    }

    /// Boxes the stack of services, so that the type of the sink does not depend on it.
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
    /// Collects answers, sends what is due, and arms the timer, until nothing more can be done now.
    /// Afterwards the waker is registered with everything that the sink waits for.
    ///
    /// If the task's budget is used up before, the waker is woken, and the next call continues.
    fn drive(&mut self, cx: &mut Context<'_>) {
        self.drive_until_idle(cx);
        // A driver publishes it after its state: a caller that sees the condition finds the state.
        if !self.core.is_driven {
            self.core.publish_condition();
        }
    }

    fn drive_until_idle(&mut self, cx: &mut Context<'_>) {
        self.core.drive_skip.begin();
        loop {
            let now = Instant::now().into_std();
            // Before `collect`: a failure must not extend an outage that has already ended.
            self.core.log_reports(now);
            // Before `dispatch`, since an answer that has come may say to wait; and once more after
            // anything was sent, which registers the waker for that as well.
            let mut progress = self.collect(cx, now);
            let discovered = self.core.drive_discovery(cx, now);
            self.core.pipeline.advance(now);
            let mut moved = false;
            if progress.is_ready() {
                progress = self.dispatch(cx, now, &mut moved);
            }
            // Before the timer is set for the next report.
            self.core.log_reports(now);
            if progress.is_pending() {
                self.core.measure_if_due(now);
                return;
            }
            if !moved && !self.timer_fired(cx, now) && !discovered {
                let wakeup = self.core.timer.as_ref().map(|(timer, _)| timer.deadline().into_std());
                self.core.drive_skip.finish(wakeup, now);
                self.core.measure_if_due(now);
                return;
            }
        }
    }

    /// Sends what is due. Pending if the task's budget is used up first. `moved` is set if a request was sent, or
    /// refused.
    fn dispatch(
        &mut self,
        cx: &mut Context<'_>,
        now: std::time::Instant,
        moved: &mut bool,
    ) -> Poll<()> {
        loop {
            if self.poll_budget(cx).is_pending() {
                // The place in the queue of a shared service is kept, since this continues at once.
                self.service.give_up_permit();
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
                // Built only now: while the service was busy, the request could grow.
                Poll::Ready(Ok(())) => {
                    // Outside of a runtime this panics, so before anything is built.
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
                        // The records of the request must come back like those of any other.
                        None => self.core.requests.spawn_panicked(id, &runtime),
                    }
                }
            }
            *moved = true;
        }
        // Nothing is to be sent, so the place in the queue of a shared service goes to others.
        self.service.give_up();
        Poll::Ready(())
    }

    /// Settles what was answered. Pending if the task's budget is used up first.
    fn collect(&mut self, cx: &mut Context<'_>, now: std::time::Instant) -> Poll<()> {
        while let Poll::Ready(Some((id, outcome))) = self.core.requests.poll_next(cx) {
            self.core.pipeline.settle(id, outcome, now);
            ready!(self.poll_budget(cx));
        }
        Poll::Ready(())
    }

    /// Charges the task's budget for what was done. Pending if it is used up; then the waker is woken.
    fn poll_budget(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        poll_units(cx, self.core.pipeline.take_work())
    }

    /// Ready for a record, unless the task's budget is used up: a source that is always ready must let others run.
    fn poll_proceed(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        poll_units(cx, 1 + self.core.pipeline.take_work()).map(Ok)
    }

    /// True if the time has come for something.
    fn timer_fired(&mut self, cx: &mut Context<'_>, now: std::time::Instant) -> bool {
        let Some(at) = self.core.pipeline.wakeup(now) else {
            self.core.timer = None;
            return false;
        };
        let (at, runtime) = (Instant::from_std(at), Handle::current().id());
        let timer = self.core.timer.get_or_insert_with(|| (Box::pin(sleep_until(at)), runtime));
        if timer.0.deadline() != at || timer.1 != runtime {
            // Not `reset`: a sink that has moved needs the timer of the runtime it is in now.
            timer.0.set(sleep_until(at));
            timer.1 = runtime;
        }
        timer.0.as_mut().poll(cx).is_ready()
    }

    /// [Drives](Self::drive) the sink, without waiting for full requests if `flush` is set.
    pub(crate) fn drive_and_flush(&mut self, cx: &mut Context<'_>, flush: bool) {
        if flush {
            self.core.pipeline.flush();
        }
        self.drive(cx);
    }

    /// Returns whether `poll_ready` can be ready for the next record of a burst without driving the sink.
    fn take_skip(&mut self) -> bool {
        self.core.drive_skip.take_skip()
            && self.core.pipeline.has_room()
            && !self.core.pipeline.wants_to_send_full()
            && self.core.pipeline.topology().is_ready()
    }

    /// Drives until every accepted record is settled. Reports the failed ones only then.
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
            // Adapters call this before each `poll_close`; an error would end the close half-way.
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
        if self.core.pipeline.has_room() {
            return self.poll_proceed(cx);
        }
        if let Some(reason) = self.core.pipeline.blocked_by_failed() {
            // Only the owner can make room, so pending would be forever.
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
