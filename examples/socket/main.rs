//! Lines come in over TCP connections and go into a Kinesis stream.
//!
//! Each connection forwards into a clone of one producer. When its sender has no more to send, it is told how
//! many lines are delivered. See `--help`.

mod connection;
#[path = "../support/embedded.rs"]
mod embedded;
#[path = "../support/interrupted.rs"]
mod interrupted;
#[path = "../support/logs.rs"]
mod logs;
#[path = "../support/read_back.rs"]
mod read_back;
#[path = "../support/remote.rs"]
mod remote;
mod senders;
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

use self::interrupted::interrupted;
use self::remote::Remote;
use self::target::{Target, check};

/// Forwards the lines of TCP connections into a Kinesis stream.
///
/// With --listen it serves until Ctrl-C or SIGTERM, then drains what it accepted, and says what became of it.
/// Without, senders of its own connect to it; the stream is read back in the end and compared. To try it by
/// hand: `cargo run --example socket -- --listen 127.0.0.1:9000`, and `seq 1000 | nc -N 127.0.0.1 9000`.
///
/// Exit status: 0 if every accepted line was delivered (and found, where the stream was read back), else 1.
#[derive(Debug, Parser)]
#[command(name = "socket")]
struct Arguments {
    /// Address to listen at, such as 127.0.0.1:9000
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,

    /// Lines that are held at most, those of all connections together
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    buffer: usize,

    /// Lines that each of its own senders sends
    #[arg(long, value_name = "N", default_value_t = 1_500, conflicts_with = "listen")]
    lines: usize,

    #[command(flatten)]
    remote: Remote,
}

#[tokio::main]
async fn main() -> ExitCode {
    logs::begin("kinesis_sink=info");
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let target = Target::open(&arguments.remote, 4).await?;
    let sink = target.sink(|builder| {
        builder.configure(|settings| settings.buffer_records = Some(arguments.buffer))
    })?;
    let producer = sink.spawn();

    let address = arguments.listen.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)));
    let listener = TcpListener::bind(address).await.with_context(|| format!("at {address}"))?;
    let address = listener.local_addr()?;
    println!("listening at {address}");
    if arguments.listen.is_some() {
        return serve(listener, producer, interrupted()).await.map(drop);
    }
    let mut read_back = target.read_back().await?;
    let senders = senders::run(address, arguments.lines);
    serve(listener, producer, senders).await?.into_iter().for_each(|line| read_back.expect(line));
    check(read_back).await
}

/// Accepts connections until `stop`, whose output it returns.
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
                // Too many open files, or a sender that is gone already: the others go on.
                Err(error) => {
                    eprintln!("a connection cannot be accepted: {error}");
                    sleep(Duration::from_millis(500)).await;
                }
            },
            // Those that have ended need not be remembered.
            Some(_) = connections.join_next() => {}
            stopped = &mut stop => break stopped,
        }
    };
    // First the records, which ends the connections that are still there, then their last words.
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
        () = producer.closed() => Err(anyhow::anyhow!("no more lines are taken")),
    };
    let answer = match outcome {
        Ok(lines) => format!("{lines} lines delivered\n"),
        Err(error) => format!("error: {error:#}\n"),
    };
    // The sender need not be there to hear it. Closing with input unread would cut the answer off.
    let last_words = async {
        output.write_all(answer.as_bytes()).await?;
        output.shutdown().await?;
        copy(&mut input.take(1 << 20), &mut sink()).await
    };
    let _ = timeout(Duration::from_secs(2), last_words).await;
}
