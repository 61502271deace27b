//! Sends standard input to a Kinesis stream: a tool for shell pipes.
//!
//! ```sh
//! zcat events.gz | pipe --stream events --format ndjson --key-pointer /user/id --dead-letter dead.ndjson
//! ```
//!
//! Without arguments it needs nothing: it starts an embedded Kinesis server, sends it the lines that come
//! in, reads them back and compares. See `--help` for options and exit statuses.
//!
//! Memory is bounded. Measured in a release build, on a busy machine of two cores with the server in another
//! process: 1 GB of JSON documents of 200 bytes, keys by pointer, in 30 s with at most 25 MiB resident.
//! `cargo test --release --test examples -- --ignored --nocapture a_gigabyte` does so after
//! `cargo build --release --example pipe`.

mod arguments;
mod bad;
mod check;
mod dead_letters;
#[path = "../support/embedded.rs"]
mod embedded;
mod forward;
mod input;
mod interrupts;
mod key;
#[path = "../support/logs.rs"]
mod logs;
mod progress;
#[path = "../support/remote.rs"]
mod remote;
mod report;
mod say;

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use aws_sdk_kinesis::Client;
use kinesis_sink::service::SdkStreamInfo;
use tokio::runtime::Builder;

use self::arguments::Arguments;
use self::check::Tally;
use self::dead_letters::DeadLetters;
use self::embedded::{Embedded, STREAM};
use self::forward::Forward;
use self::interrupts::Interrupts;
use self::key::Reader;
use self::progress::Progress;
use self::report::Report;
use self::say::say;

fn main() -> ExitCode {
    let arguments = Arguments::read();
    // At INFO the log shows the begin and the end of an outage.
    logs::begin(if arguments.quiet { "kinesis_sink=warn" } else { "kinesis_sink=info" });
    let runtime = Builder::new_multi_thread().enable_all().build().expect("threads can be started");
    let ended = runtime.block_on(run(&arguments));
    // After an interruption a read of standard input is still under way, and may be for ever.
    runtime.shutdown_background();
    ended.unwrap_or_else(|error| {
        say(format_args!("error: {error:#}"));
        ExitCode::FAILURE
    })
}

async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let dead_letters = arguments.dead_letter.as_deref().map(DeadLetters::open).transpose()?;
    if arguments.remote.is_wanted() {
        let client = arguments.remote.connect().await?;
        let mut forward = forward(arguments, client, arguments.remote.stream(), dead_letters)?;
        return Ok(send(arguments, &mut forward).await.exit_status().into());
    }
    // Kept to the end: dropping the server ends it.
    let server = Embedded::start(4, arguments.throttled).await?;
    if !arguments.quiet {
        say(format_args!("embedded Kinesis server at {}, stream {STREAM}", server.endpoint()));
    }
    let mut forward = forward(arguments, server.client().clone(), STREAM, dead_letters)?;
    forward.tally = Some(Tally::default());
    let report = send(arguments, &mut forward).await;
    if report.is_complete() {
        let found = Tally::of_stream(server.client(), STREAM).await?;
        let sent = forward.tally.unwrap_or_default();
        let (have, want) = (found.records, sent.records);
        anyhow::ensure!(
            found == sent,
            "{want} records were sent, the embedded stream has {have}, or others"
        );
        if !arguments.quiet {
            say(format_args!("{} records read back from the embedded stream", found.records));
        }
    }
    Ok(report.exit_status().into())
}

fn forward(
    arguments: &Arguments,
    client: Client,
    stream: &str,
    dead_letters: Option<DeadLetters>,
) -> anyhow::Result<Forward> {
    let client = if arguments.cbor { in_cbor(&client) } else { client };
    // The description has the size limit of a record.
    let stream_info = SdkStreamInfo::new(&client).without_list_shards();
    let mut builder = arguments.builder(stream).with_stream_info(stream_info);
    if let Some(file) = &dead_letters {
        builder = builder.with_dead_letter_handler(file.clone());
    }
    Ok(Forward {
        sink: builder.build(&client)?,
        input: input::open(arguments.format),
        reader: Reader::new(arguments),
        dead_letters,
        interrupts: Interrupts::new().context("no signals can be caught")?,
        progress: Progress::new(arguments.quiet),
        tally: None,
    })
}

/// Sends everything, and says what came of it.
async fn send(arguments: &Arguments, forward: &mut Forward) -> Report {
    if std::io::stdin().is_terminal() && !arguments.quiet {
        say("reading from the terminal; Ctrl-D ends it");
    }
    let report = forward.run().await;
    if !arguments.quiet {
        say(report.summary());
    }
    let file = arguments.dead_letter.as_deref().unwrap_or(Path::new(""));
    for trouble in report.troubles(forward.reader.unit(), file) {
        say(trouble);
    }
    report
}

fn in_cbor(client: &Client) -> Client {
    let protocol = kinesis_sink::service::KinesisCbor::new();
    Client::from_conf(client.config().to_builder().protocol(protocol).build())
}
