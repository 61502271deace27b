use std::time::Duration;

use clap::Parser;

/// Full speed for minutes, through faults, with an account of every record.
///
/// Starts an embedded Kinesis server in this process that enforces its shards' limits, and lets many
/// tasks share one producer. They offer more than the shards take. Every few seconds something goes
/// wrong, drawn from a seed: requests fail, get lost before or after they were written, or are held up;
/// entries fail; connections are reset, and the server stands still or cannot be reached.
///
/// Every record has a number, and the stream is read all the time. Every ten seconds one line tells what
/// was accepted, delivered, found twice, and lost: reported as delivered and not in the stream. In the
/// end the producer is closed and the stream is read to its end.
///
/// Exit status: 0 if every accepted record was delivered and found, in the bounds of memory; 1 if the run
/// could not be made; 2 if the options are wrong; 3 if a record was lost, damaged, handed back, has no
/// outcome, or was found twice without a request whose outcome was unknown; 4 if memory grew out of its
/// bounds.
#[derive(Debug, Parser)]
#[command(name = "soak")]
pub struct Arguments {
    /// How long to send, in minutes
    #[arg(long, value_name = "MINUTES", default_value_t = 10, conflicts_with = "seconds")]
    minutes: u64,

    /// How long to send, in seconds
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,

    /// Tasks that send
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub tasks: usize,

    /// Receipts that each task awaits at once. All of them together should be more than the producer
    /// holds (10,000 records), so that the tasks have to wait for it
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub window: usize,

    /// Shards of the stream. Each takes 1,000 records and 1 MiB a second
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub shards: i32,

    /// What the faults are drawn from [default: drawn, and printed]
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,

    /// The most memory that may be resident, in MiB, the account of this run (one byte a record) not
    /// counted.
    ///
    /// Measured were 64 with the other options at their defaults: the producer's 10,000 records of
    /// 1,000 bytes on average with what it knows of them, four requests as JSON, the same as the server
    /// parses them, what it stores until it is read, and two SDK clients. The default is twice that, for
    /// allocators and machines that differ
    #[arg(long, value_name = "MIB", default_value_t = 128)]
    pub max_rss_mib: u64,

    /// How much more memory than in the first minute may be resident later, in MiB, the account not
    /// counted. A run of less than two minutes says nothing about growth
    #[arg(long, value_name = "MIB", default_value_t = 16)]
    pub max_growth_mib: u64,

    /// Confirms a request now and then that it has not sent, to see that this is noticed
    #[arg(long, hide = true)]
    pub lossy: bool,
}

impl Arguments {
    pub fn duration(&self) -> Duration {
        Duration::from_secs(self.seconds.unwrap_or(60 * self.minutes))
    }
}
