//! Forwards the lines of a file and remembers how far it came, so that it can be killed at any moment and
//! started again without losing a line.
//!
//! Without arguments it shows that: it starts an embedded Kinesis server and lets a process of its own do
//! the work, which it kills several times. See `--help`.

mod checkpoint;
mod demonstration;
#[path = "../support/embedded.rs"]
mod embedded;
#[path = "../support/logs.rs"]
mod logs;
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

/// Forwards the lines of a file into a Kinesis stream and stores, in a second file, the number of lines
/// below which everything is delivered. Killed at any moment and started again, it goes on there: no line
/// is lost, some may be sent twice. The file must be complete: nothing may be added to its last line.
///
/// Without --file it demonstrates that on an embedded Kinesis server.
#[derive(Debug, Parser)]
#[command(name = "checkpoint")]
struct Arguments {
    /// File to forward, a record per line
    #[arg(long, value_name = "PATH", requires = "checkpoint")]
    file: Option<PathBuf>,

    /// File that holds the number of delivered lines; made if it is not there
    #[arg(long, value_name = "PATH", requires = "file")]
    checkpoint: Option<PathBuf>,

    #[command(flatten)]
    remote: Remote,

    /// Lines of the demonstration
    #[arg(long, value_name = "N", default_value_t = 12_000, conflicts_with = "file")]
    lines: u64,

    /// How often the demonstration kills the process that forwards
    #[arg(long, value_name = "N", default_value_t = 4, conflicts_with = "file")]
    kills: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    logs::begin("kinesis_sink=info");
    let arguments = Arguments::parse();
    let outcome = match (&arguments.file, &arguments.checkpoint) {
        (Some(file), Some(checkpoint)) => run(&arguments.remote, file, checkpoint).await,
        _ if arguments.remote.is_wanted() => {
            Err(anyhow::anyhow!("give --file and --checkpoint too"))
        }
        _ => demonstration::run(arguments.lines, arguments.kills).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(remote: &Remote, file: &Path, checkpoint: &Path) -> anyhow::Result<()> {
    let client = remote.connect().await?;
    let mut checkpoint = Checkpoint::load(checkpoint).await?;
    let resumed = checkpoint.delivered();
    let forwarded = forward(&client, remote.stream(), file, &mut checkpoint).await;
    // Also after an error: what is delivered need not be sent again.
    let stored = checkpoint.store().await;
    let delivered = checkpoint.delivered();
    forwarded.with_context(|| format!("stopped; the first {delivered} lines are delivered"))?;
    stored?;
    println!("lines {resumed} to {delivered} delivered");
    Ok(())
}

/// The heart of it. Outcomes come in the order of the lines: when one line is delivered, so are all before it.
async fn forward(
    client: &Client,
    stream: &str,
    file: &Path,
    checkpoint: &mut Checkpoint,
) -> anyhow::Result<()> {
    let producer = KinesisSink::new(client, stream)?.spawn();
    let mut lines = skip(file, checkpoint.delivered()).await?;
    let mut read = Ok(());
    let records = stream::poll_fn(|cx| {
        let line = ready!(Pin::new(&mut lines).poll_next_segment(cx));
        // An error ends the source: the lines before it are settled first.
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

/// The lines after the first `delivered`.
async fn skip(file: &Path, delivered: u64) -> anyhow::Result<Split<BufReader<File>>> {
    let open = File::open(file).await.with_context(|| format!("cannot read {}", file.display()))?;
    let mut lines = BufReader::new(open).split(b'\n');
    for line in 0..delivered {
        let there = lines.next_segment().await?.is_some();
        anyhow::ensure!(there, "{} has only {line} of {delivered} lines", file.display());
    }
    Ok(lines)
}
