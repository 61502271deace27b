//! Jobs of the children, and the messages that they print.

use std::path::PathBuf;
use std::time::Duration;

use kinesis_sink::spool::{Spool, Sync};
use serde::{Deserialize, Serialize};

use crate::account::{ACK_INTERVAL, Life};

/// Small, so that segments are completed and removed all the time. A large record must fit.
const SEGMENT_BYTES: u64 = 256 * 1024;
/// More than all children can send, because this run is not about a full disk.
const MAX_BYTES: u64 = 4 << 30;

/// Job of a child.
#[derive(Debug, Serialize, Deserialize)]
pub struct Job {
    pub life: Life,
    pub directory: PathBuf,
    pub endpoint: String,
    pub sync: ChildSync,
    pub ordered: bool,
    pub work: Work,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Work {
    /// Send records with these numbers, and then wait to be killed.
    Send { first: u64, records: u64, seed: u64, pause: Duration },
    /// Deliver what is in the spool, and exit.
    Drain,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChildSync {
    Always,
    Interval,
    Never,
}

impl Job {
    pub fn spool(&self) -> Spool {
        let sync = match self.sync {
            ChildSync::Always => Sync::Always,
            ChildSync::Interval => Sync::Interval(ACK_INTERVAL),
            ChildSync::Never => Sync::Never,
        };
        Spool::at(&self.directory)
            .with_segment_bytes(SEGMENT_BYTES)
            .with_max_bytes(MAX_BYTES)
            .with_sync(sync)
    }
}

/// A line that a child prints.
#[derive(Debug, Serialize, Deserialize)]
pub enum Message {
    /// The spool is open.
    Opened { recovered: u64, damaged: u64 },
    /// A record was accepted.
    Accepted(u64),
    /// Everything is delivered.
    Drained { damaged: u64 },
}
