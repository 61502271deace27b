//! A command-line tool that sends standard input to a Kinesis stream. See `--help`.
//!
//! Memory use is bounded. A release build on two cores sent 1 GB of JSON documents of 200 bytes, with partition keys by
//! JSON pointer, in 30 s with at most 25 MiB of resident memory. To reproduce this, build the example in release mode
//! and run the ignored test in `tests/examples/pipe/memory.rs`.

mod arguments;
mod dead_letter;
mod dead_letters;
#[path = "../support/embedded.rs"]
mod embedded;
mod forwarder;
mod frame_error;
mod input;
mod interrupts;
#[path = "../support/logs.rs"]
mod logs;
mod outlet;
mod progress;
mod record;
#[path = "../support/remote.rs"]
mod remote;
mod report;
mod spool;
mod stderr;
mod tally;

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use aws_sdk_kinesis::Client;
use kinesis_sink::service::SdkStreamInfo;
use tokio::runtime::Builder;

use self::arguments::Arguments;
use self::dead_letters::DeadLetters;
use self::embedded::{Embedded, STREAM};
use self::forwarder::Forwarder;
use self::interrupts::Interrupts;
use self::outlet::{Outlet, Spooled};
use self::progress::Progress;
use self::record::RecordBuilder;
use self::report::Report;
use self::spool::Mode;
use self::stderr::print_line;
use self::tally::Tally;

fn main() -> ExitCode {
    let arguments = Arguments::parse_or_exit();
    logs::init(if arguments.quiet { "kinesis_sink=warn" } else { "kinesis_sink=info" });
    let runtime = Builder::new_multi_thread().enable_all().build().expect("threads can be spawned");
    let ended = runtime.block_on(run(&arguments));
    // Do not wait for a blocked read of standard input, because it would delay the exit.
    runtime.shutdown_background();
    ended.unwrap_or_else(|error| {
        print_line(format_args!("error: {error:#}"));
        ExitCode::FAILURE
    })
}

async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    match arguments.spool.mode() {
        Some(Mode::Info(directory)) => return describe(directory, false),
        Some(Mode::Verify(directory)) => return describe(directory, true),
        Some(Mode::Send(_) | Mode::Drain(_)) | None => {}
    }
    let dead_letters = arguments.dead_letter.as_deref().map(DeadLetters::open).transpose()?;
    if let Some(file) = &dead_letters
        && file.is_standard_input().context("cannot inspect standard input")?
    {
        anyhow::bail!("--dead-letter is the file that is read: name another file");
    }
    if arguments.remote.is_set() {
        let client = arguments.remote.connect().await?;
        let stream = arguments.remote.stream();
        let mut forwarder = forwarder(arguments, client, stream, dead_letters)?;
        return Ok(send(arguments, &mut forwarder).await.exit_status().into());
    }
    let server = Embedded::start(4, arguments.throttled).await?;
    if !arguments.quiet {
        print_line(format_args!(
            "embedded Kinesis server at {}, stream {STREAM}",
            server.endpoint()
        ));
    }
    let mut forwarder = forwarder(arguments, server.client().clone(), STREAM, dead_letters)?;
    forwarder.tally = Some(Tally::default());
    let report = send(arguments, &mut forwarder).await;
    if report.is_complete() {
        let found = Tally::of_stream(server.client(), STREAM).await?;
        let sent = forwarder.tally.unwrap_or_default();
        anyhow::ensure!(
            found == sent,
            "the embedded stream differs: {} records sent, {} read back",
            sent.records,
            found.records
        );
        if !arguments.quiet {
            let records = found.records;
            print_line(format_args!("{records} records read back from the embedded stream"));
        }
    }
    Ok(report.exit_status().into())
}

/// Prints the contents of a spool. The exit status is 3 if it is damaged.
fn describe(directory: &Path, verify: bool) -> anyhow::Result<ExitCode> {
    let (table, is_intact) = spool::describe(directory, verify)?;
    std::io::stdout().write_all(table.as_bytes()).context("cannot write standard output")?;
    Ok(if is_intact { ExitCode::SUCCESS } else { ExitCode::from(3) })
}

fn forwarder(
    arguments: &Arguments,
    client: Client,
    stream: &str,
    dead_letters: Option<DeadLetters>,
) -> anyhow::Result<Forwarder> {
    let client = if arguments.cbor { with_cbor(&client) } else { client };
    // The sink describes the stream to learn its record size limit.
    let stream_info = SdkStreamInfo::new(&client).without_list_shards();
    let mut builder = arguments.builder(stream).with_stream_info(stream_info);
    if let Some(file) = &dead_letters {
        builder = builder.with_dead_letter_handler(file.clone());
    }
    let outlet = match arguments.spool.spool() {
        Some(spool) => {
            Outlet::Spooled(Spooled::new(builder.with_spool(spool).build(&client)?.spawn()))
        }
        None => Outlet::Direct(builder.build(&client)?),
    };
    let is_drain = matches!(arguments.spool.mode(), Some(Mode::Drain(_)));
    let open = if is_drain { input::none } else { input::open };
    Ok(Forwarder {
        outlet,
        spool: arguments.spool.directory().map(Path::to_owned),
        input: open(arguments.format),
        records: RecordBuilder::new(arguments),
        dead_letters,
        interrupts: Interrupts::new().context("cannot listen for signals")?,
        progress: Progress::new(arguments.quiet),
        tally: None,
    })
}

async fn send(arguments: &Arguments, forwarder: &mut Forwarder) -> Report {
    if let (Outlet::Spooled(spooled), Some(directory)) = (&forwarder.outlet, &forwarder.spool)
        && spooled.recovered() > 0
        && !arguments.quiet
    {
        print_line(format_args!(
            "{} records recovered from {}; those that were delivered shortly before the program was killed are \
             delivered again",
            spooled.recovered(),
            directory.display()
        ));
    }
    let reads_input = !matches!(arguments.spool.mode(), Some(Mode::Drain(_)));
    if reads_input && std::io::stdin().is_terminal() && !arguments.quiet {
        print_line("reading from the terminal; press Ctrl-D to end the input");
    }
    let report = forwarder.run().await;
    if !arguments.quiet {
        print_line(report.summary());
    }
    let file = arguments.dead_letter.as_deref().unwrap_or(Path::new(""));
    for problem in report.problems(forwarder.records.frame_name(), file) {
        print_line(problem);
    }
    report
}

fn with_cbor(client: &Client) -> Client {
    let protocol = kinesis_sink::service::KinesisCbor::new();
    Client::from_conf(client.config().to_builder().protocol(protocol).build())
}
