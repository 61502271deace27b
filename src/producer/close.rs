use super::channel::{Channel, wake_all};
use super::queue::Phase;
use super::state::{State, StopReason};
use crate::error::Error;

impl Channel {
    /// Waits until the driver has ended.
    pub(super) async fn ended(&self) {
        // `wait_for` cannot fail, because `self` owns the sender.
        let _ = self.watch().wait_for(State::is_terminated).await;
    }

    /// Takes the result of a producer that has [ended](Self::ended), with its undelivered records in the error.
    pub(super) fn take_result(&self) -> Result<(), Error> {
        let State::Terminated(reason) = self.watch().borrow().clone() else { return Ok(()) };
        let (undelivered, left, woken) = {
            let mut queue = self.queue();
            let size = std::mem::take(&mut queue.collected);
            let woken = self.capacity.release_failed(size);
            self.acknowledge_collected();
            let left = queue.ended.as_ref().map_or(0, |ended| ended.left);
            (std::mem::take(&mut queue.undelivered), left, woken)
        };
        wake_all(woken);
        let error = match reason {
            StopReason::Refused(cause) => Error::stopped(self.stream.clone(), cause),
            StopReason::Abandoned => Error::abandoned().with_stream(self.stream.clone()),
            StopReason::Closed if left == 0 => return Ok(()),
            StopReason::Closed => Error::undelivered_at_close(self.stream.clone()),
        };
        Err(error.with_count(left).with_undelivered(undelivered))
    }

    /// Lets the spool close, if there is one. The driver must have ended.
    ///
    /// The failed records in the queue are acknowledged, because the caller is about to take them.
    pub(super) fn start_release(&self) {
        if let Some(spooling) = &self.spooling {
            let queue = self.queue();
            spooling.acknowledge_collected();
            spooling.request_release();
            drop(queue);
        }
    }

    /// Waits until the spool, if there is one, is closed. The driver must have ended. If the future is dropped, the failed
    /// records are still in the queue.
    pub(super) async fn released(&self) {
        self.start_release();
        if let Some(spooling) = &self.spooling {
            spooling.released().await;
            let unwritten = spooling.take_unwritten();
            let mut queue = self.queue();
            if let Some(ended) = &mut queue.ended {
                ended.left += unwritten.len();
            }
            queue.undelivered.extend(unwritten);
        }
    }

    pub(super) fn is_closing(&self) -> bool {
        self.queue().phase != Phase::Open
    }
}
