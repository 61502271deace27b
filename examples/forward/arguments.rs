use std::path::PathBuf;

use clap::Parser;

use crate::remote::Remote;

/// Forwards a file into a Kinesis stream, a record per line, and checks that all of it arrived.
///
/// Without options it starts an embedded Kinesis server in this process, generates a log file, forwards
/// it to a stream of four shards, reads the stream back and compares. With --stream, --region or
/// --endpoint it sends to a real stream instead, with the credentials of the environment (variables,
/// profile, container or instance role).
///
/// Exit status: 0 if every record was delivered (and found, where the stream was read back), 2 if the
/// options are wrong, else 1.
/// Set RUST_LOG=kinesis_sink=debug to see every request.
#[derive(Debug, Parser)]
#[command(name = "forward", after_help = AFTER_HELP)]
pub struct Arguments {
    /// File to forward, `-` for standard input [default: a generated log file]
    #[arg(long, value_name = "PATH")]
    pub file: Option<PathBuf>,

    /// Number of lines to generate when there is no --file
    #[arg(long, value_name = "N", default_value_t = 50_000)]
    pub records: usize,

    #[command(flatten)]
    pub remote: Remote,

    /// Read the stream back afterwards, also when it is not the embedded one: only what is written from
    /// now on, with a consumer's permissions (ListShards, GetShardIterator, GetRecords)
    #[arg(long)]
    pub read_back: bool,

    /// Let the embedded server enforce the limits of its shards (1,000 records and 1 MiB a second), so
    /// that entries are throttled; the outcome must be the same
    #[arg(long, conflicts_with_all = ["stream", "region", "endpoint"])]
    pub throttled: bool,
}

const AFTER_HELP: &str = "\
Examples:
  cargo run --example forward
  cargo run --example forward -- --throttled
  cargo run --example forward -- --file /var/log/syslog --stream clicks --region eu-west-1
  journalctl -f | cargo run --example forward -- --file - --stream clicks";
