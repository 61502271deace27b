//! Interface of a producer for the router that owns it.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::task::Waker;

use tokio::sync::Notify;
use tokio::task::coop::consume_budget;

use super::Producer;
use super::queue::Phase;
use super::state::StopReason;
use crate::error::{Error, ErrorKind, Rejection};
use crate::pipeline::ShareId;
use crate::record::{Record, Undelivered};

impl Producer {
    /// Returns `true` if the producer has no record, not even a failed one, and no call is waiting. Returns `false` while the
    /// producer is closing.
    pub(crate) fn is_idle(&self) -> bool {
        let channel = self.channel();
        let queue = channel.queue();
        let is_settled = match queue.phase {
            Phase::Open => channel.is_empty(&queue),
            Phase::Draining => false,
            // The records that are left are in `undelivered`.
            Phase::Terminated => true,
        };
        is_settled && queue.undelivered.is_empty()
    }

    /// Asks the producer to release unused memory if it has been open and idle since the previous call. Has no effect
    /// until the returned waker is woken, which can run any code.
    ///
    /// An idle producer is asked only once. Handles to it do not matter.
    #[must_use = "the driver must be woken"]
    pub(crate) fn request_rest(&self) -> Option<Waker> {
        let channel = self.channel();
        let mut queue = channel.queue();
        let is_idle = queue.phase == Phase::Open && channel.is_empty(&queue);
        queue.request_rest(is_idle)
    }

    /// Returns `true` if there is no other handle to the producer.
    pub(crate) fn is_only_handle(&self) -> bool {
        let is_only = Arc::strong_count(&self.handle) == 1;
        // The effects of calls through a dropped handle must be visible to the caller.
        fence(Ordering::Acquire);
        is_only
    }

    /// Accepts a record although the buffer is full. Returns the share that the record has exceeded.
    ///
    /// Returns an error if the record can never be sent, or if the producer was closed or has stopped.
    pub(crate) fn accept_beyond_share(&self, record: Record) -> Result<ShareId, Error> {
        let record = match self.channel().check_now(record) {
            // Only the stream description can show that the record is too large. The service then rejects it.
            Err(error) if error.kind() == ErrorKind::Full => {
                let Some(record) = error.into_record() else {
                    unreachable!("`Full` errors contain the record")
                };
                record
            }
            checked => checked?,
        };
        self.channel().push_beyond(record)
    }

    /// Waits until a share has capacity for a record again, or the producer has ended or must be emptied of failed
    /// records. Must be polled, because it holds the capacity for a moment.
    pub(crate) fn wait_for_capacity(
        &self,
        share: ShareId,
    ) -> impl Future<Output = ()> + Send + Sync + use<> {
        let channel = self.channel().clone();
        async move {
            while let Err(Rejection::Refused(_)) = channel.clone().reserve_any(share).await {
                channel.clone().recovered().await;
            }
        }
    }

    /// Sets the notification that is sent each time the producer has no more records.
    pub(crate) fn notify_when_idle(&self, notify: Arc<Notify>) {
        // A producer belongs to one router, which sets the notification once.
        let _ = self.channel().on_idle.set(notify);
    }

    /// Waits until all accepted records are settled, like [`flush`](Self::flush), but is not a handle: the producer can be
    /// closed while the future waits or is not polled.
    pub(crate) fn detached_flush(
        &self,
    ) -> impl Future<Output = Result<(), Error>> + Send + Sync + use<> {
        let channel = self.channel().clone();
        async move {
            consume_budget().await;
            match channel.flush()? {
                Some(reply) => reply.await.unwrap_or_else(|_| channel.final_flush_result()),
                None => Ok(()),
            }
        }
    }

    /// Returns how the producer has ended, or `None` before its driver has ended.
    pub(crate) fn end(&self) -> Option<EndReason> {
        let queue = self.channel().queue();
        queue.ended.as_ref().map(|ended| match ended.reason {
            StopReason::Closed => EndReason::Closed,
            StopReason::Refused(_) | StopReason::Abandoned => EndReason::Stopped,
        })
    }

    /// Starts to close the producer, without waiting until its records are settled.
    pub(crate) fn start_close(&self) {
        self.channel().close(StopReason::Closed);
    }

    /// Withdraws all records. The producer must be closing.
    pub(crate) fn abort(&self) {
        self.channel().abort();
    }

    /// Waits until the driver has ended, and its spool has released the directory. Leaves the undelivered records in the
    /// producer.
    pub(crate) async fn ended(&self) {
        self.channel().ended().await;
        self.channel().released().await;
    }

    /// Takes the result of a producer that has [ended](Self::ended), with its undelivered records.
    pub(crate) fn take_result(&self) -> Result<(), Error> {
        self.channel().start_release();
        self.channel().take_result()
    }

    /// Collects the failed records, so that [`take_collected`](Self::take_collected) returns them.
    pub(crate) async fn collect_failed(&self) {
        self.channel().collect_failed().await;
    }

    pub(crate) fn take_collected(&self) -> Vec<Undelivered> {
        self.channel().take_collected()
    }

    /// Returns the number of calls that have taken failed records.
    pub(crate) fn takes(&self) -> u64 {
        self.channel().takes()
    }
}

/// How a producer has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndReason {
    /// A handle has closed the producer.
    Closed,
    /// The service refuses every request, or the driver was dropped.
    Stopped,
}
