//! Thread that owns the log of a spool, and the handle with which a producer uses it.
//!
//! ```text
//! send, put ──▶ staging ──▶ thread: one write for a group ──▶ outlet ──▶ driver
//!                              │            ▲                   ▲          │
//!                              ▼            └── acknowledged ───┼──────────┘
//!                            files ─────── read, once the ──────┘
//!                                          outlet is low
//! ```
//!
//! Records pass the outlet in the order of their sequence numbers. A record that does not fit stays only on disk, so the
//! memory is bounded however long an outage lasts.

mod disk_policy;
mod handle;
mod load;
mod outlet;
mod receipts;
mod report;
mod run;
mod runs;
mod spill;
mod staging;
mod state;
#[cfg(test)]
mod tests;
mod timers;
mod write;

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

pub(crate) use handle::{STAGING_BOUNDS, SpoolHandle};
pub(crate) use outlet::{Accepted, FlushReply, Outgoing, OutgoingRecord};
pub(crate) use runs::Runs;
pub(crate) use spill::Spilled;

use self::run::Worker;
use super::files::DiskFiles;
use super::{Spool, SpoolError, SpoolErrorKind};
#[cfg(feature = "metrics")]
use crate::metrics::SpoolMetrics;
use crate::record::SharedHandler;
use crate::stream::StreamId;

const THREAD_NAME: &str = "kinesis-sink-spool";

/// Parts of the sink that the thread uses.
pub(crate) struct Owner {
    pub(crate) stream: StreamId,
    pub(crate) dead_letters: Option<SharedHandler>,
    /// `None` if metrics are off.
    #[cfg(feature = "metrics")]
    pub(crate) metrics: Option<SpoolMetrics>,
}

/// Time for which a locked directory is tried again. An earlier producer of this process may be about to release it.
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);
const LOCK_INTERVAL: Duration = Duration::from_millis(5);

fn open(spool: Spool, mut owner: Owner) -> Result<Worker<DiskFiles>, SpoolError> {
    let started = Instant::now();
    loop {
        let files = DiskFiles::new(spool.path());
        match Worker::open(files, &spool, &mut owner) {
            Err(error)
                if error.kind() == SpoolErrorKind::Locked && started.elapsed() < LOCK_TIMEOUT =>
            {
                thread::sleep(LOCK_INTERVAL);
            }
            opened => return opened,
        }
    }
}

/// Starts the thread of a spool, and waits until the spool is open.
///
/// # Errors
///
/// Returns an error if the thread cannot be started, or if the log cannot be opened.
pub(crate) fn start(spool: Spool, owner: Owner) -> Result<SpoolHandle, SpoolError> {
    let path = spool.path().to_owned();
    let (sender, opened) = mpsc::sync_channel(1);
    let run = move || {
        match open(spool, owner) {
            Ok(worker) => {
                let handle = SpoolHandle { shared: Arc::clone(worker.shared()) };
                // If the caller has panicked, the handle is dropped, and the worker ends.
                drop(sender.send(Ok(handle)));
                worker.run();
            }
            Err(error) => drop(sender.send(Err(error))),
        }
    };
    thread::Builder::new()
        .name(THREAD_NAME.to_owned())
        .spawn(run)
        .map_err(|error| SpoolError::thread(&path, &error))?;
    opened.recv().unwrap_or_else(|_| {
        let error = std::io::Error::other("the thread ended");
        Err(SpoolError::thread(&path, &error))
    })
}
