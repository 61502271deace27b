use std::future::Future;
use std::time::Duration;

use futures::future::join_all;
use tokio::time::timeout;

use super::shared::{Shared, StreamGuard};
use crate::error::Error;
use crate::record::Undelivered;

impl Shared {
    pub(super) async fn flush(&self) -> Result<(), Error> {
        // The guards must be dropped before the future waits.
        let flushed = flush_all(&self.acquire_all());
        flushed.await
    }

    pub(super) async fn take_failed(&self) -> Vec<Undelivered> {
        let guards = self.acquire_all();
        join_all(guards.iter().map(|guard| guard.producer().collect_failed())).await;
        // Follows the last suspension point, so that no record is lost if the future is dropped.
        guards.iter().flat_map(|guard| guard.producer().take_collected()).collect()
    }

    /// Closes all producers. Returns their undelivered records after all of them have ended.
    pub(super) async fn close_all(&self, deadline: Option<Duration>) -> Result<(), Error> {
        let guards = self.close();
        for guard in &guards {
            guard.producer().start_close();
        }
        let ended = || join_all(guards.iter().map(|guard| guard.producer().ended()));
        match deadline {
            None => drop(ended().await),
            Some(deadline) => {
                if timeout(deadline, ended()).await.is_err() {
                    for guard in &guards {
                        guard.producer().abort();
                    }
                    ended().await;
                }
            }
        }
        // Follows the last suspension point, so that no record is lost if the future is dropped.
        let results = guards.iter().map(|guard| guard.producer().take_result());
        Error::merge(results.filter_map(Result::err))
    }
}

/// Flushes the producers concurrently. The future does not keep the streams open, because it can wait for one of them
/// for a long time after the others have become idle.
pub(super) fn flush_all(
    guards: &[StreamGuard],
) -> impl Future<Output = Result<(), Error>> + Send + Sync + use<> {
    let flushes = join_all(guards.iter().map(|guard| guard.producer().detached_flush()));
    async move { Error::merge(flushes.await.into_iter().filter_map(Result::err)) }
}
