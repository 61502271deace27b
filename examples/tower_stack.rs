//! A sink with a custom service stack, built from layers of this crate and of tower.
//!
//! `cargo run --example tower_stack` sends to an embedded Kinesis server that enforces the limits of its
//! shards. Set `RUST_LOG=kinesis_sink=debug` to log every request.

#[path = "support/embedded.rs"]
mod embedded;
#[path = "support/logs.rs"]
mod logs;

use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use kinesis_sink::service::{PutRecords, PutRecordsRequest, PutRecordsResponse, ServiceBuilderExt};
use kinesis_sink::timeout::TimeoutError;
use kinesis_sink::{KinesisSink, Record};
use tower::ServiceBuilder;
use tower::retry::Policy;

#[derive(serde::Serialize)]
struct Reading {
    device: String,
    sequence: u64,
    celsius: f64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    logs::init("error");
    let server = embedded::Embedded::start(2, true).await?;
    println!("embedded Kinesis server at {}", server.endpoint());

    // The first layer in the list is the outermost.
    let service = ServiceBuilder::new()
        // Records one span and one measurement per request of the sink, including the retry of the request.
        .trace_put_records()
        .metrics_put_records()
        // While a limit delays a request, the sink buffers more records, so the next request has more entries.
        .concurrency_limit(3)
        .rate_limit(20, Duration::from_secs(1))
        .retry(RetryTimeouts { retries: 1 })
        .timeout_put_records(Duration::from_secs(2))
        .service(PutRecords::new(server.client()).without_stalled_stream_protection());

    let mut sink = KinesisSink::builder(embedded::STREAM)
        .with_max_in_flight(3)
        .with_deadline(Duration::from_secs(60))
        .with_dead_letters(|reading| eprintln!("reading not delivered: {}", reading.reason()))
        // The stack cannot be shared with other sinks, because `RateLimit` is not `Clone`.
        .build_with_unshared(service)?;

    let started_at = Instant::now();
    let readings = (0..5_000).map(|sequence| {
        let device = format!("device-{}", sequence % 100);
        let celsius = 20.0 + (sequence % 70) as f64 / 10.0;
        let reading = Reading { device: device.clone(), sequence, celsius };
        let json = serde_json::to_vec(&reading).expect("serialization to JSON succeeds");
        Record::from((device, json))
    });
    stream::iter(readings).map(Ok).forward(&mut sink).await?;

    let totals = sink.totals();
    println!(
        "{} readings delivered in {} requests and {:.1} s; {} entries throttled, {} failed",
        totals.delivered,
        totals.requests,
        started_at.elapsed().as_secs_f64(),
        totals.throttled,
        totals.failed
    );
    Ok(())
}

/// A policy that retries requests that have timed out. Cloning a request does not copy the entries.
#[derive(Clone)]
struct RetryTimeouts {
    retries: usize,
}

impl Policy<PutRecordsRequest, PutRecordsResponse, TimeoutError> for RetryTimeouts {
    type Future = std::future::Ready<()>;

    fn retry(
        &mut self,
        _: &mut PutRecordsRequest,
        result: &mut Result<PutRecordsResponse, TimeoutError>,
    ) -> Option<Self::Future> {
        if !matches!(result, Err(TimeoutError::Elapsed { .. })) {
            return None;
        }
        self.retries = self.retries.checked_sub(1)?;
        Some(std::future::ready(()))
    }

    fn clone_request(&mut self, request: &PutRecordsRequest) -> Option<PutRecordsRequest> {
        Some(request.clone())
    }
}
