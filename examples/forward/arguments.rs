use std::path::PathBuf;

use clap::Parser;

use crate::remote::Remote;

/// Forwards the lines of a file to a Kinesis stream and verifies that all records arrived.
///
/// By default it starts an embedded Kinesis server in this process, generates a log file, forwards it to a
/// stream with four shards, and compares the records of the stream with the lines of the file. With
/// --stream, --region, or --endpoint it sends to an existing stream, using the credentials of the
/// environment (variables, profile, container or instance role).
///
/// Exit status: 0 if every record was delivered (and found, if the stream was read back), 2 if the options
/// are invalid, 1 on any other error.
/// Set RUST_LOG=kinesis_sink=debug to log every request.
#[derive(Debug, Parser)]
#[command(name = "forward", after_help = AFTER_HELP)]
pub struct Arguments {
    /// File to forward, or - for standard input [default: a generated log file]
    #[arg(long, value_name = "PATH")]
    pub file: Option<PathBuf>,

    /// Number of lines to generate if --file is not given
    #[arg(long, value_name = "N", default_value_t = 50_000)]
    pub records: usize,

    #[command(flatten)]
    pub remote: Remote,

    /// Read the records back from an existing stream, too. Needs permission for ListShards,
    /// GetShardIterator, and GetRecords. Reads only records written after the start
    #[arg(long)]
    pub read_back: bool,

    /// Let the embedded server enforce the limits of its shards (1,000 records and 1 MiB per second), so
    /// that it throttles entries. The result must be the same
    #[arg(long, conflicts_with_all = ["stream", "region", "endpoint"])]
    pub throttled: bool,
}

const AFTER_HELP: &str = "\
Examples:
  cargo run --example forward
  cargo run --example forward -- --throttled
  cargo run --example forward -- --file /var/log/syslog --stream clicks --region eu-west-1
  journalctl -f | cargo run --example forward -- --file - --stream clicks";
