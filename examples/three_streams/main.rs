//! Three producers for three streams. They share a client, its connection pool, and a concurrency limit.

mod connections;
#[path = "../support/embedded.rs"]
mod embedded;
#[path = "../support/logs.rs"]
mod logs;
#[path = "../support/read_back.rs"]
mod read_back;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use aws_sdk_kinesis::Client;
use futures::future::try_join_all;
use kinesis_sink::service::{PutRecords, ServiceBuilderExt};
use kinesis_sink::{BuildError, KinesisSink, Producer, Record};
use serde::Serialize;
use tower::ServiceBuilder;

use self::connections::Connections;
use self::embedded::Embedded;
use self::read_back::{From, ReadBack};

const STREAMS: [&str; 3] = ["orders", "clicks", "audit"];
const CONCURRENCY_LIMIT: usize = 2;
const EVENTS: u32 = 6_000;

#[derive(Debug, Serialize)]
#[serde(tag = "kind")]
enum Event {
    Order { number: u32, cents: u32 },
    Click { number: u32 },
    Login { number: u32, admin: bool },
}

impl Event {
    fn stream(&self) -> &'static str {
        match self {
            Self::Order { .. } => "orders",
            Self::Click { .. } => "clicks",
            Self::Login { admin: true, .. } => "audit",
            Self::Login { admin: false, .. } => "clicks",
        }
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    logs::init("kinesis_sink=info");
    let connections = Connections::default();
    let server = Embedded::start_in(1, true, |app| connections.observe(app)).await?;
    let mut read_backs = BTreeMap::new();
    for stream in STREAMS {
        server.add_stream(stream, 2).await?;
        let read_back = ReadBack::begin(server.client(), stream, From::Start).await?;
        read_backs.insert(stream, read_back);
    }
    println!("embedded Kinesis server at {}, streams {STREAMS:?}", server.endpoint());

    let producers = producers(server.client())?;
    for event in (0..EVENTS).map(event) {
        let (stream, record) = (event.stream(), Record::from(serde_json::to_vec(&event)?));
        read_backs.get_mut(stream).context("unknown stream")?.expect(record.data().clone());
        // If the buffer of one stream is full, the others wait too. One task per stream, or `try_send`, avoids this.
        producers[stream].send(record).await?;
    }
    try_join_all(producers.values().map(Producer::close)).await?;

    for (stream, read_back) in read_backs {
        let found = read_back.finish().await?;
        println!("{stream}: {found}; {} requests", producers[stream].status().totals.requests);
        found.ensure_complete().context(stream)?;
    }
    let carried = connections.streams();
    let shared = carried.iter().filter(|streams| streams.len() > 1).count();
    println!("{} connections, {shared} of them used for several streams", carried.len());
    anyhow::ensure!(shared > 0, "no connection was used for more than one stream");
    Ok(())
}

/// Creates one producer per stream. The sinks use clones of the same service.
fn producers(client: &Client) -> Result<BTreeMap<&'static str, Producer>, BuildError> {
    let service = ServiceBuilder::new()
        .trace_put_records()
        .metrics_put_records()
        // The clones share the permits. The timeout does not include the wait for a permit.
        .concurrency_limit(CONCURRENCY_LIMIT)
        .timeout_put_records(Duration::from_secs(10))
        .service(PutRecords::new(client).without_stalled_stream_protection());
    let sink = |stream| KinesisSink::builder(stream).build_with(service.clone());
    STREAMS.into_iter().map(|stream| Ok((stream, sink(stream)?.spawn()))).collect()
}

fn event(number: u32) -> Event {
    match number % 5 {
        0 => Event::Order { number, cents: number * 7 },
        1 => Event::Login { number, admin: number.is_multiple_of(2) },
        _ => Event::Click { number },
    }
}
