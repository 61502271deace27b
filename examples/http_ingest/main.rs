//! Events come in over HTTP and go into a Kinesis stream.
//!
//! | request | answer |
//! |---|---|
//! | `POST /events/{key}` | 202 once the event is accepted: it is in memory, and on its way |
//! | `POST /events/{key}?wait` | 201 with shard and sequence number once it is in the stream |
//! | `GET /health` | the producer's status; 200 while events are accepted, else 503 |
//!
//! Without arguments clients of its own send to it, into an embedded Kinesis server. See `--help`.

mod answer;
mod clients;
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

use self::interrupted::interrupted;
use self::remote::Remote;
use self::target::{Target, check};

/// Takes events over HTTP into a Kinesis stream.
///
/// With --listen it serves until Ctrl-C or SIGTERM, then answers the requests that it has, drains what it
/// accepted, and says what became of it. Without, clients of its own send to it; what was acknowledged is read back in the
/// end and compared.
///
/// Exit status: 0 if every accepted event was delivered (and found, where the stream was read back), else 1.
#[derive(Debug, Parser)]
#[command(name = "http_ingest")]
struct Arguments {
    /// Address to serve on, such as 127.0.0.1:8080
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,

    /// Events that are held at most before clients are told to come back later
    #[arg(long, value_name = "N", default_value_t = 200)]
    buffer: usize,

    /// How long it waits in the end for requests under way, and then for what was accepted. Together that
    /// should be less than what its manager waits before it kills: 30 seconds in Kubernetes
    #[arg(long, value_name = "SECONDS", default_value_t = 12)]
    patience: u64,

    /// Events that its own clients send
    #[arg(long, value_name = "N", default_value_t = 2_000, conflicts_with = "listen")]
    events: usize,

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
    let target = Target::open(&arguments.remote, 1).await?;
    let producer = target.sink(|builder| with_settings(builder, arguments.buffer))?.spawn();

    let address = arguments.listen.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)));
    let listener = TcpListener::bind(address).await.with_context(|| format!("at {address}"))?;
    let address = listener.local_addr()?;
    println!("listening at http://{address}");
    let patience = Duration::from_secs(arguments.patience);
    if arguments.listen.is_some() {
        let interrupted = async {
            // Without a handler for signals nobody can wait for them.
            let _ = interrupted().await;
        };
        return serve(listener, &producer, interrupted, patience).await;
    }
    let mut read_back = target.read_back().await?;
    let (acknowledged, stop) = oneshot::channel();
    let clients = tokio::spawn(async move {
        let events = clients::run(address, arguments.events).await;
        let _ = acknowledged.send(());
        events
    });
    serve(listener, &producer, async { stop.await.unwrap_or(()) }, patience).await?;
    clients.await??.into_iter().for_each(|event| read_back.expect(event));
    check(read_back).await
}

fn with_settings(builder: SinkBuilder, buffer: usize) -> SinkBuilder {
    builder
        .configure(|settings| settings.buffer_records = Some(buffer))
        // A lapse of permissions must not end the service: it answers 503 until they are back.
        .configure(|settings| settings.fatal_policy = FatalPolicy::Retry)
        // Events that nobody waits for and that fail for good. A service of yours keeps them.
        .with_dead_letters(|lost| eprintln!("an event is lost: {}", lost.reason()))
}

/// The heart of it, and the order of its end: first no more requests, then no more records.
async fn serve(
    listener: TcpListener,
    producer: &Producer,
    stop: impl Future<Output = ()> + Send + 'static,
    patience: Duration,
) -> anyhow::Result<()> {
    let app = Router::new()
        .route("/events/{key}", post(put_event))
        .route("/health", get(health))
        // A larger event could not be sent. This one is answered with 413 before it is read.
        .layer(DefaultBodyLimit::max(producer.limits().record_bytes()))
        .with_state(producer.clone());
    let (stopping, stopped) = oneshot::channel();
    let stop = async {
        stop.await;
        let _ = stopping.send(());
    };
    let out_of_patience = async {
        match stopped.await {
            Ok(()) => sleep(patience).await,
            Err(_) => pending().await,
        }
    };
    // Ready once the requests under way are answered. One that waits for its delivery, or whose body does not
    // come, must not keep what was accepted from being drained.
    let mut serving = pin!(axum::serve(listener, app).with_graceful_shutdown(stop).into_future());
    let served = tokio::select! {
        served = &mut serving => Some(served),
        () = out_of_patience => None,
    };
    let closed = producer.close_within(patience).await;
    if served.is_none() {
        // Those that still wait hear now that their event was not delivered.
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
        // Accepted is not delivered: if this process is killed now, the event is lost.
        return match producer.try_send(record) {
            Ok(()) => StatusCode::ACCEPTED.into_response(),
            Err(error) => answer::not_accepted(&error),
        };
    }
    match producer.try_put(record) {
        Ok(receipt) => answer::settled(receipt.await),
        Err(error) => answer::not_accepted(&error),
    }
}

async fn health(State(producer): State<Producer>) -> Response {
    answer::health(&producer.status())
}
