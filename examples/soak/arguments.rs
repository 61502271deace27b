use std::time::Duration;

use clap::Parser;

/// Sends records under load and faults, and verifies the outcome of every record.
///
/// Many tasks share one producer and overload an embedded Kinesis server that enforces the limits of its
/// shards. Every few seconds a fault occurs, drawn from a seed: requests fail, are delayed, or are lost before
/// or after they are written; entries fail; connections are reset; the server stalls or is unreachable.
///
/// The stream is read continuously. Every ten seconds a line shows the number of records accepted, delivered,
/// duplicated, and lost, which means delivered and not in the stream. At the end the producer is closed and the
/// stream is read to its end.
///
/// Exit status: 0 if every accepted record was delivered and found within the memory limits; 1 if the run
/// failed; 2 if the options are invalid; 3 if a record was lost, damaged, returned, has no outcome, or is
/// duplicated without a request whose outcome is unknown; 4 if a memory limit was exceeded.
#[derive(Debug, Parser)]
#[command(name = "soak")]
pub struct Arguments {
    /// Time to send, in minutes
    #[arg(long, value_name = "MINUTES", default_value_t = 10, conflicts_with = "seconds")]
    minutes: u64,

    /// Time to send, in seconds
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,

    /// Number of tasks that send
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub tasks: usize,

    /// Maximum number of pending receipts per task. Their sum should exceed the buffer of the producer
    /// (10,000 records), so that the tasks encounter backpressure
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub window: usize,

    /// Number of shards, each limited to 1,000 records and 1 MiB per second
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub shards: i32,

    /// Seed of the faults [default: random, and printed]
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,

    /// Maximum resident memory in MiB, without the account of the records (one byte per record).
    ///
    /// The default is twice the 64 MiB measured with the other options at their defaults, which consist of the
    /// 10,000 records of 1,000 bytes on average in the producer, four requests in JSON, their parsed form in
    /// the server, the records it stores until they are read, and two SDK clients
    #[arg(long, value_name = "MIB", default_value_t = 128)]
    pub max_rss_mib: u64,

    /// Maximum growth of the resident memory after the first minute in MiB, without the account. Meaningful
    /// for runs of two minutes and more
    #[arg(long, value_name = "MIB", default_value_t = 16)]
    pub max_growth_mib: u64,

    /// Confirm some requests without sending them, to verify that lost records are detected
    #[arg(long, hide = true)]
    pub lossy: bool,
}

impl Arguments {
    pub fn duration(&self) -> Duration {
        Duration::from_secs(self.seconds.unwrap_or(60 * self.minutes))
    }
}
