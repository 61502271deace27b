//! Forwards a log with committed offsets, such as Kafka's, so that nothing is lost when the process dies:
//! an offset is committed only when everything below it is in the stream.
//!
//! Without arguments it shows that on an embedded Kinesis server: one consumer crashes, the next goes on
//! from the committed offsets, and gives half of its partitions to a third. See `--help`.

mod demonstration;
#[path = "../support/embedded.rs"]
mod embedded;
mod forward;
mod log;
#[path = "../support/logs.rs"]
mod logs;
#[path = "../support/read_back.rs"]
mod read_back;
#[path = "../support/remote.rs"]
mod remote;
#[path = "../support/target.rs"]
mod target;

use std::process::ExitCode;

use clap::Parser;

use self::remote::Remote;

/// Forwards a log with committed offsets into a Kinesis stream: at least once, whatever happens.
///
/// The log is in this process. One consumer of it crashes in the middle, with records under way; a second
/// goes on from the committed offsets; half of its partitions are revoked and go to a third. In the end the
/// stream is read back and compared.
///
/// Exit status: 0 if every message is in the stream, and was when its offset was committed, else 1.
#[derive(Debug, Parser)]
#[command(name = "offsets")]
struct Arguments {
    /// Messages in each of the four partitions
    #[arg(long, value_name = "N", default_value_t = 1_500,
        value_parser = clap::value_parser!(u64).range(1_000..))]
    messages: u64,

    #[command(flatten)]
    remote: Remote,
}

#[tokio::main]
async fn main() -> ExitCode {
    logs::begin("kinesis_sink=info");
    let arguments = Arguments::parse();
    match demonstration::run(arguments.messages, &arguments.remote).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
