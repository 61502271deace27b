//! Forwards the lines of a file to a Kinesis stream and verifies that all records arrived.

mod arguments;
#[path = "../support/embedded.rs"]
mod embedded;
mod logfile;
#[path = "../support/logs.rs"]
mod logs;
#[path = "../support/program.rs"]
mod program;
mod progress;
#[path = "../support/read_back.rs"]
mod read_back;
#[path = "../support/remote.rs"]
mod remote;
mod source;

use std::process::ExitCode;
use std::time::Instant;

use aws_sdk_kinesis::Client;
use futures::{SinkExt, StreamExt, TryStreamExt};
use kinesis_sink::{KinesisSink, Record};

use self::arguments::Arguments;
use self::embedded::Embedded;
use self::logfile::LogFile;
use self::progress::Progress;
use self::read_back::{From, ReadBack};
use self::source::Source;

const SHARDS: i32 = 4;

#[tokio::main]
async fn main() -> ExitCode {
    program::run(run).await
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    // The file is removed when `generated` is dropped.
    let (generated, path) = match &arguments.file {
        Some(path) => (None, path.clone()),
        None => {
            let file = LogFile::generate(arguments.records)?;
            let path = file.path().to_owned();
            (Some(file), path)
        }
    };
    let source = Source::open(&path).await?;
    if arguments.remote.is_set() {
        let client = arguments.remote.connect().await?;
        let stream = arguments.remote.stream();
        let read_back = if arguments.read_back {
            Some(ReadBack::begin(&client, stream, From::Now).await?)
        } else {
            None
        };
        return forward(&client, stream, source, read_back, None).await;
    }
    let server = Embedded::start(SHARDS, arguments.throttled).await?;
    println!("embedded Kinesis server at {}, stream {}", server.endpoint(), embedded::STREAM);
    if generated.is_some() {
        println!(
            "generated {} log lines, {} bytes",
            arguments.records,
            source.bytes().unwrap_or(0)
        );
    }
    let read_back = ReadBack::begin(server.client(), embedded::STREAM, From::Start).await?;
    let quota = 1_000.0 * f64::from(SHARDS);
    forward(server.client(), embedded::STREAM, source, Some(read_back), Some(quota)).await
}

/// Forwards all lines to the stream. `quota` is the quota of all shards in records per second, if known.
async fn forward(
    client: &Client,
    stream: &str,
    source: Source,
    mut read_back: Option<ReadBack>,
    quota: Option<f64>,
) -> anyhow::Result<()> {
    let mut sink = KinesisSink::new(client, stream)?;
    let mut progress = Progress::new(source.bytes());
    let started_at = Instant::now();
    let forwarded = source
        .lines()
        .map_ok(|line| {
            progress.advance(line.len());
            if let Some(read_back) = &mut read_back {
                read_back.expect(line.clone());
            }
            Record::from(line)
        })
        .forward((&mut sink).sink_map_err(anyhow::Error::from))
        .await;
    let lines = progress.finish();
    if let Err(error) = forwarded {
        // Delivers the records that were accepted before the error.
        let _ = sink.close().await;
        let (delivered, kept) = (sink.totals().delivered, sink.buffered_records().len());
        return Err(error.context(format!(
            "stopped at line {lines}; {delivered} records delivered, {kept} kept"
        )));
    }

    let elapsed = started_at.elapsed().as_secs_f64();
    let totals = *sink.totals();
    if totals.throttled > 0 {
        println!("{} throttled entries were retried", totals.throttled);
    }
    let summary = format!(
        "forwarded {} records in {} requests, {} failed",
        totals.delivered,
        totals.requests,
        sink.status().failed.records
    );
    let Some(read_back) = read_back else {
        println!("{summary}");
        return Ok(());
    };
    let found = read_back.finish().await?;
    match quota {
        Some(quota) => {
            let rate = totals.delivered as f64 / elapsed;
            println!("{summary}; {found}; {rate:.0} of {quota} records/s");
        }
        None => println!("{summary}; {found}"),
    }
    found.ensure_complete()
}
