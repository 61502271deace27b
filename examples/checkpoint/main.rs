//! Forwards the lines of a file and stores its progress, so that no line is lost if the process is killed.

mod checkpoint;
mod demonstration;
#[path = "../support/embedded.rs"]
mod embedded;
#[path = "../support/logs.rs"]
mod logs;
#[path = "../support/program.rs"]
mod program;
#[path = "../support/read_back.rs"]
mod read_back;
#[path = "../support/remote.rs"]
mod remote;

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::ExitCode;
use std::task::{Poll, ready};

use anyhow::Context;
use aws_sdk_kinesis::Client;
use clap::Parser;
use futures::{StreamExt, stream};
use kinesis_sink::{KinesisSink, Record};
use tokio::fs::File;
use tokio::io::{AsyncBufReadExt, BufReader, Split};

use self::checkpoint::Checkpoint;
use self::remote::Remote;

/// Forwards the lines of a file to a Kinesis stream and stores a checkpoint in a second file.
///
/// The checkpoint is the number of lines delivered from the start of the file. If the process is killed and
/// started again, it continues at the checkpoint: no line is lost, and some may be sent twice. The last line of
/// the file must not be extended.
///
/// Without --file it demonstrates this on an embedded Kinesis server.
#[derive(Debug, Parser)]
#[command(name = "checkpoint")]
struct Arguments {
    /// File to forward, one record per line
    #[arg(long, value_name = "PATH", requires = "checkpoint")]
    file: Option<PathBuf>,

    /// File that stores the checkpoint. It is created if it does not exist
    #[arg(long, value_name = "PATH", requires = "file")]
    checkpoint: Option<PathBuf>,

    #[command(flatten)]
    remote: Remote,

    /// Number of lines of the demonstration
    #[arg(long, value_name = "N", default_value_t = 12_000, conflicts_with = "file")]
    lines: u64,

    /// Number of times the demonstration kills the forwarding process
    #[arg(long, value_name = "N", default_value_t = 4, conflicts_with = "file")]
    kills: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    program::run(run).await
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    match (&arguments.file, &arguments.checkpoint) {
        (Some(file), Some(checkpoint)) => resume(&arguments.remote, file, checkpoint).await,
        _ if arguments.remote.is_set() => anyhow::bail!("give --file and --checkpoint too"),
        _ => demonstration::run(arguments.lines, arguments.kills).await,
    }
}

async fn resume(remote: &Remote, file: &Path, checkpoint: &Path) -> anyhow::Result<()> {
    let client = remote.connect().await?;
    let mut checkpoint = Checkpoint::load(checkpoint).await?;
    let resumed = checkpoint.delivered();
    let forwarded = forward(&client, remote.stream(), file, &mut checkpoint).await;
    // Stores the checkpoint even if forwarding failed.
    let stored = checkpoint.store().await;
    let delivered = checkpoint.delivered();
    forwarded.with_context(|| format!("stopped; the first {delivered} lines are delivered"))?;
    stored?;
    println!("lines {resumed} to {delivered} delivered");
    Ok(())
}

/// Forwards the lines after the checkpoint, and advances the checkpoint.
///
/// All lines before a delivered line are delivered too, because `put_all` returns outcomes in the order of the lines.
async fn forward(
    client: &Client,
    stream: &str,
    file: &Path,
    checkpoint: &mut Checkpoint,
) -> anyhow::Result<()> {
    let producer = KinesisSink::new(client, stream)?.spawn();
    let mut lines = open_after(file, checkpoint.delivered()).await?;
    let mut read = Ok(());
    let records = stream::poll_fn(|cx| {
        let line = ready!(Pin::new(&mut lines).poll_next_segment(cx));
        // A read error ends the stream of records, so that the outcomes of the earlier lines are still processed.
        let line = line.map_err(|error| read = Err(error)).ok().flatten();
        Poll::Ready(line.map(|line| (Record::from(line), ())))
    });
    let mut outcomes = producer.put_all(records);
    while let Some(((), outcome)) = outcomes.next().await {
        outcome?;
        checkpoint.advance().await?;
    }
    drop(outcomes);
    Ok(read?)
}

async fn open_after(file: &Path, delivered: u64) -> anyhow::Result<Split<BufReader<File>>> {
    let open = File::open(file).await.with_context(|| format!("cannot read {}", file.display()))?;
    let mut lines = BufReader::new(open).split(b'\n');
    for line in 0..delivered {
        let exists = lines.next_segment().await?.is_some();
        anyhow::ensure!(exists, "{} has only {line} of {delivered} lines", file.display());
    }
    Ok(lines)
}
