//! Forwards a log with committed offsets, such as Kafka's, with at-least-once delivery.

mod demonstration;
#[path = "../support/embedded.rs"]
mod embedded;
mod forward;
mod log;
#[path = "../support/logs.rs"]
mod logs;
#[path = "../support/program.rs"]
mod program;
#[path = "../support/read_back.rs"]
mod read_back;
#[path = "../support/remote.rs"]
mod remote;
#[path = "../support/target.rs"]
mod target;

use std::process::ExitCode;

use clap::Parser;

use self::remote::Remote;

/// Forwards a log with committed offsets to a Kinesis stream, with at-least-once delivery.
///
/// The log is in memory. A first consumer crashes with records in flight. A second one continues at the
/// committed offsets, and half of its partitions are then moved to a third. After the crash and at the end, the
/// committed messages are compared with the records of the stream.
///
/// Exit status: 0 if every committed message was found, 2 if the options are invalid, 1 on any other error.
#[derive(Debug, Parser)]
#[command(name = "offsets")]
struct Arguments {
    /// Number of messages in each of the four partitions
    #[arg(long, value_name = "N", default_value_t = 1_500,
        value_parser = clap::value_parser!(u64).range(1_000..))]
    messages: u64,

    #[command(flatten)]
    remote: Remote,
}

#[tokio::main]
async fn main() -> ExitCode {
    program::run(run).await
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    demonstration::run(arguments.messages, &arguments.remote).await
}
