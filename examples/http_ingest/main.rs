//! An HTTP server that forwards events to a Kinesis stream.
//!
//! | request | response |
//! |---|---|
//! | `POST /events/{key}` | 202 once the event is accepted (buffered in memory) |
//! | `POST /events/{key}?wait` | 201 with shard and sequence number once the event is delivered |
//! | `GET /health` | the status of the producer; 200 while events are accepted, else 503 |

mod answer;
mod clients;
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
#[path = "../support/shutdown.rs"]
mod shutdown;
#[path = "../support/target.rs"]
mod target;

use std::future::{IntoFuture, pending};
use std::net::SocketAddr;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use clap::Parser;
use kinesis_sink::settings::FatalPolicy;
use kinesis_sink::{Producer, Record, SinkBuilder};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use self::remote::Remote;
use self::shutdown::shutdown_signal;
use self::target::Target;

/// Forwards events received over HTTP to a Kinesis stream.
///
/// With --listen it serves until Ctrl-C or SIGTERM, then completes pending requests, drains the producer, and
/// prints a summary. Otherwise it starts clients that send events, and compares the acknowledged events with
/// the records of the stream.
///
/// Exit status: 0 if every accepted event was delivered (and found, if the stream was read back), 2 if the
/// options are invalid, 1 on any other error.
#[derive(Debug, Parser)]
#[command(name = "http_ingest")]
struct Arguments {
    /// Address to listen on, such as 127.0.0.1:8080
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,

    /// Maximum number of buffered events. The server responds with 503 if the buffer is full
    #[arg(long, value_name = "N", default_value_t = 200)]
    buffer: usize,

    /// Timeout at shutdown for pending requests, and again for the drain. The sum should be less than the
    /// grace period of the service manager, such as 30 seconds in Kubernetes
    #[arg(long, value_name = "SECONDS", default_value_t = 12)]
    grace_period: u64,

    /// Number of events to send without --listen
    #[arg(long, value_name = "N", default_value_t = 2_000, conflicts_with = "listen")]
    events: usize,

    #[command(flatten)]
    remote: Remote,
}

#[tokio::main]
async fn main() -> ExitCode {
    program::run(run).await
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let target = Target::open(&arguments.remote, 1).await?;
    let producer = target.sink(|builder| with_settings(builder, arguments.buffer))?.spawn();

    let address = arguments.listen.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)));
    let listener =
        TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    let address = listener.local_addr()?;
    println!("listening on http://{address}");
    let grace_period = Duration::from_secs(arguments.grace_period);
    if arguments.listen.is_some() {
        // If the program cannot listen for signals, the server shuts down immediately.
        let shutdown = async { _ = shutdown_signal().await };
        return serve(listener, &producer, shutdown, grace_period).await;
    }
    let mut read_back = target.read_back().await?;
    let (acknowledged, stop) = oneshot::channel();
    let clients = tokio::spawn(async move {
        let events = clients::run(address, arguments.events).await;
        let _ = acknowledged.send(());
        events
    });
    serve(listener, &producer, async { stop.await.unwrap_or(()) }, grace_period).await?;
    for event in clients.await?? {
        read_back.expect(event);
    }
    read_back.check().await
}

fn with_settings(builder: SinkBuilder, buffer: usize) -> SinkBuilder {
    builder
        .configure(|settings| settings.buffer_records = Some(buffer))
        // If permissions are missing temporarily, the server keeps running and rejects events with 503.
        .configure(|settings| settings.fatal_policy = FatalPolicy::Retry)
        // Called for failed events without a receipt. A real service would store these events.
        .with_dead_letters(|event| eprintln!("event not delivered: {}", event.reason()))
}

/// Serves until `stop` completes. Then shuts the server down, and after that the producer.
async fn serve(
    listener: TcpListener,
    producer: &Producer,
    stop: impl Future<Output = ()> + Send + 'static,
    grace_period: Duration,
) -> anyhow::Result<()> {
    let app = Router::new()
        .route("/events/{key}", post(put_event))
        .route("/health", get(health))
        // Larger requests are rejected with 413 before their body is read.
        .layer(DefaultBodyLimit::max(producer.limits().record_bytes()))
        .with_state(producer.clone());
    let (stopping, stopped) = oneshot::channel();
    let stop = async {
        stop.await;
        let _ = stopping.send(());
    };
    let shutdown_timeout = async {
        match stopped.await {
            Ok(()) => sleep(grace_period).await,
            Err(_) => pending().await,
        }
    };
    // A request can wait for its delivery, or its body might never arrive, so the shutdown needs a timeout.
    let mut serving = pin!(axum::serve(listener, app).with_graceful_shutdown(stop).into_future());
    let served = tokio::select! {
        served = &mut serving => Some(served),
        () = shutdown_timeout => None,
    };
    let closed = producer.close_within(grace_period).await;
    if served.is_none() {
        // Closing the producer has completed the requests that waited for a delivery, so their responses are sent now.
        let _ = timeout(Duration::from_secs(1), serving).await;
    }
    let totals = producer.status().totals;
    println!(
        "{} events accepted, {} delivered in {} requests, {} failed",
        totals.accepted, totals.delivered, totals.requests, totals.failed
    );
    closed?;
    served.transpose()?;
    anyhow::ensure!(totals.failed == 0, "{} events were not delivered", totals.failed);
    Ok(())
}

async fn put_event(
    State(producer): State<Producer>,
    Path(key): Path<String>,
    RawQuery(query): RawQuery,
    event: Bytes,
) -> Response {
    let record = Record::from((key, event));
    if query.as_deref() != Some("wait") {
        // If the process is killed before the delivery, an accepted event is lost.
        return match producer.try_send(record) {
            Ok(()) => StatusCode::ACCEPTED.into_response(),
            Err(error) => answer::not_accepted(&error),
        };
    }
    match producer.try_put(record) {
        Ok(receipt) => answer::delivered(receipt.await),
        Err(error) => answer::not_accepted(&error),
    }
}

async fn health(State(producer): State<Producer>) -> Response {
    answer::health(&producer.status())
}
