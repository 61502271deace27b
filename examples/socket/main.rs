//! A TCP server that forwards the lines of its connections to a Kinesis stream.
//!
//! All connections share one producer. When the input of a connection ends, the server responds with the number of
//! delivered lines.

mod connection;
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
mod senders;
#[path = "../support/shutdown.rs"]
mod shutdown;
#[path = "../support/target.rs"]
mod target;

use std::net::SocketAddr;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use kinesis_sink::Producer;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, sink};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use self::remote::Remote;
use self::shutdown::shutdown_signal;
use self::target::Target;

/// Forwards the lines of TCP connections to a Kinesis stream.
///
/// With --listen it serves until Ctrl-C or SIGTERM, then drains the producer and prints a summary. Otherwise
/// it starts senders, and compares their lines with the records of the stream. To try it:
/// `cargo run --example socket -- --listen 127.0.0.1:9000`, and `seq 1000 | nc -N 127.0.0.1 9000`.
///
/// Exit status: 0 if every accepted line was delivered (and found, if the stream was read back), 2 if the
/// options are invalid, 1 on any other error.
#[derive(Debug, Parser)]
#[command(name = "socket")]
struct Arguments {
    /// Address to listen on, such as 127.0.0.1:9000
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,

    /// Maximum number of buffered lines of all connections
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    buffer: usize,

    /// Number of lines per sender without --listen
    #[arg(long, value_name = "N", default_value_t = 1_500, conflicts_with = "listen")]
    lines: usize,

    #[command(flatten)]
    remote: Remote,
}

#[tokio::main]
async fn main() -> ExitCode {
    program::run(run).await
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let target = Target::open(&arguments.remote, 4).await?;
    let sink = target.sink(|builder| {
        builder.configure(|settings| settings.buffer_records = Some(arguments.buffer))
    })?;
    let producer = sink.spawn();

    let address = arguments.listen.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)));
    let listener =
        TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    let address = listener.local_addr()?;
    println!("listening on {address}");
    if arguments.listen.is_some() {
        return serve(listener, producer, shutdown_signal()).await.map(drop);
    }
    let mut read_back = target.read_back().await?;
    let senders = senders::run(address, arguments.lines);
    for line in serve(listener, producer, senders).await? {
        read_back.expect(line);
    }
    read_back.check().await
}

/// Accepts connections until `stop` completes, and then drains the producer. Returns the output of `stop`.
async fn serve<T, E>(
    listener: TcpListener,
    producer: Producer,
    stop: impl Future<Output = Result<T, E>>,
) -> anyhow::Result<T>
where
    anyhow::Error: From<E>,
{
    let mut connections = JoinSet::new();
    let mut stop = pin!(stop);
    let stopped = loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((connection, _)) => _ = connections.spawn(serve_one(connection, producer.clone())),
                // The process might have too many open files, or the connection might be closed already.
                Err(error) => {
                    eprintln!("cannot accept a connection: {error}");
                    sleep(Duration::from_millis(500)).await;
                }
            },
            Some(_) = connections.join_next() => {}
            stopped = &mut stop => break stopped,
        }
    };
    // When the producer is closed, the open connections end and send their responses.
    let closed = producer.close_within(Duration::from_secs(30)).await;
    connections.join_all().await;
    let totals = producer.status().totals;
    println!("{} lines delivered in {} requests", totals.delivered, totals.requests);
    closed?;
    Ok(stopped?)
}

async fn serve_one(mut connection: TcpStream, producer: Producer) {
    let (mut input, mut output) = connection.split();
    let outcome = tokio::select! {
        forwarded = connection::forward(&mut input, producer.clone()) => forwarded,
        () = producer.closed() => Err(anyhow::anyhow!("no more lines are accepted")),
    };
    let answer = match outcome {
        Ok(lines) => format!("{lines} lines delivered\n"),
        Err(error) => format!("error: {error:#}\n"),
    };
    // Reads the remaining input, because closing a socket with unread data resets it, and the response is lost.
    let finished = async {
        output.write_all(answer.as_bytes()).await?;
        output.shutdown().await?;
        copy(&mut input.take(1 << 20), &mut sink()).await
    };
    // The sender might have disconnected already.
    let _ = timeout(Duration::from_secs(2), finished).await;
}
