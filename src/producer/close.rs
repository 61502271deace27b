use super::channel::{Channel, wake_all};
use super::queue::Phase;
use super::state::{State, StopReason};
use crate::error::Error;

impl Channel {
    /// Waits until the driver has ended. Returns the undelivered records in the error.
    pub(super) async fn terminated(&self) -> Result<(), Error> {
        let mut state = self.watch();
        let terminated = state.wait_for(State::is_terminated).await.map(|state| state.clone());
        // `wait_for` cannot fail, because `self` owns the sender.
        let Ok(State::Terminated(reason)) = terminated else { return Ok(()) };
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
    pub(super) fn start_release(&self) {
        if let Some(spooling) = &self.spooling {
            spooling.request_release();
        }
    }

    /// Waits until the spool, if there is one, is closed. The driver must have ended.
    pub(super) async fn released(&self) {
        if let Some(spooling) = &self.spooling {
            spooling.request_release();
            spooling.released().await;
        }
    }

    pub(super) fn is_closing(&self) -> bool {
        self.queue().phase != Phase::Open
    }
}
