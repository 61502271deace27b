use std::future::Future;
use std::time::Duration;

use futures::future::join_all;
use tokio::time::timeout;

use super::shared::{Lease, Shared};
use crate::error::Error;
use crate::record::Undelivered;

impl Shared {
    pub(super) async fn flush(&self) -> Result<(), Error> {
        // The leases must be dropped before the future waits.
        let flushed = flush_all(&self.leases());
        flushed.await
    }

    pub(super) async fn take_failed(&self) -> Vec<Undelivered> {
        let leases = self.leases();
        join_all(leases.iter().map(|lease| lease.producer().collect_failed())).await;
        // Follows the last suspension point, so that no record is lost if the future is dropped.
        leases.iter().flat_map(|lease| lease.producer().take_collected()).collect()
    }

    /// Closes all producers. Returns their undelivered records after all of them have ended.
    pub(super) async fn close_all(&self, deadline: Option<Duration>) -> Result<(), Error> {
        let leases = self.close();
        for lease in &leases {
            lease.producer().start_close();
        }
        let ended = || join_all(leases.iter().map(|lease| lease.producer().ended()));
        match deadline {
            None => drop(ended().await),
            Some(deadline) => {
                if timeout(deadline, ended()).await.is_err() {
                    for lease in &leases {
                        lease.producer().abort();
                    }
                    ended().await;
                }
            }
        }
        // Follows the last suspension point, so that no record is lost if the future is dropped.
        let results = leases.iter().map(|lease| lease.producer().take_result());
        Error::merge(results.filter_map(Result::err))
    }
}

/// Flushes the producers concurrently. The future does not keep the streams open, because it can wait for one of them
/// for a long time after the others have become idle.
pub(super) fn flush_all(
    leases: &[Lease],
) -> impl Future<Output = Result<(), Error>> + Send + Sync + use<> {
    let flushes = join_all(leases.iter().map(|lease| lease.producer().detached_flush()));
    async move { Error::merge(flushes.await.into_iter().filter_map(Result::err)) }
}
