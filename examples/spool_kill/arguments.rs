use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

/// Kills a process that sends through a spool, again and again, and verifies that no accepted record is lost.
///
/// A child process sends numbered records through a producer with a spool, and reports each number once the
/// record is accepted. The records go to an embedded Kinesis server of this process, which throttles requests,
/// fails some of them, and delays its responses. The child is killed at random times, also while it starts, and
/// started again on the same spool. The last child delivers the rest. Then the stream is read back.
///
/// The run fails if an accepted record is missing; if a record is duplicated although its response had arrived
/// more than 100 ms (the interval at which acknowledgements are written) and --slack before the kill; if a frame
/// is reported as damaged; and, with --ordered, if the records of a key are out of order.
///
/// Exit status: 0 if all of this holds; 1 if the run failed; 2 if the options are invalid; 3 if it does not hold.
#[derive(Debug, Clone, Parser)]
#[command(name = "spool_kill")]
pub struct Arguments {
    /// Number of kills
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub kills: u32,

    /// Seed of the times of the kills, the numbers of records, and the faults [default: random, and printed]
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,

    /// Maximum time from the start of a child to its kill, in milliseconds. One child in ten lives longer, up
    /// to four times as long
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 400)]
    pub max_life: u64,

    /// Maximum number of records that one child sends, or a quarter with --ordered
    #[arg(long, value_name = "N", default_value_t = 1_200)]
    pub max_records: u64,

    /// Send keyed records with `RecordOrdering::PerKey`, and verify the order of each key
    #[arg(long)]
    pub ordered: bool,

    /// When accepted records are synced to the disk. With mixed, each child uses another setting
    #[arg(long, value_enum, default_value_t)]
    pub sync: SyncMode,

    /// Time that a busy machine may add to the interval of acknowledgements, in milliseconds
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 250)]
    pub slack: u64,

    /// Number of shards, each limited to 1,000 records and 1 MiB per second
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub shards: i32,

    /// Directory of the spool, which must not exist [default: a temporary directory]
    #[arg(long, value_name = "DIR")]
    pub spool: Option<PathBuf>,

    /// Remove the newest segment after each kill, to verify that lost records are detected
    #[arg(long, hide = true)]
    pub lossy: bool,

    /// Run as a child: the job in JSON
    #[arg(long, hide = true)]
    pub child: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum SyncMode {
    #[default]
    Mixed,
    Always,
    /// Every 100 ms
    Interval,
    Never,
}

impl Arguments {
    pub fn slack(&self) -> Duration {
        Duration::from_millis(self.slack)
    }
}
