//! A sink over a hand-built stack: this crate's layers and tower's, around the AWS SDK call.
//!
//! `cargo run --example tower_stack` runs it against an embedded Kinesis server that enforces the limits
//! of its shards; `RUST_LOG=kinesis_sink=debug` shows each request.

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
    logs::begin("error");
    let server = embedded::Embedded::start(2, true).await?;
    println!("embedded Kinesis server at {}", server.endpoint());

    // From the outside in: what is above sees what is below as one call.
    let service = ServiceBuilder::new()
        // One span and one measurement per request of the sink, whatever happens below.
        .trace_put_records()
        .metrics_put_records()
        // At most three requests at once, and at most 20 a second. Where either is exhausted the sink
        // waits, and its next request becomes fuller.
        .concurrency_limit(3)
        .rate_limit(20, Duration::from_secs(1))
        // A request that was not answered is tried once more before the sink hears of it.
        .retry(OnceMoreAfterTimeout { left: 1 })
        .timeout_put_records(Duration::from_secs(2))
        .service(PutRecords::new(server.client()).without_stalled_stream_protection());

    let mut sink = KinesisSink::builder(embedded::STREAM)
        .with_max_in_flight(3)
        .with_deadline(Duration::from_secs(60))
        .with_dead_letters(|lost| eprintln!("given up: {}", lost.reason()))
        // A rate limit is not `Clone`; this sink has the stack for itself.
        .build_with_unshared(service)?;

    let began = Instant::now();
    let readings = (0..5_000).map(|sequence| {
        let device = format!("device-{}", sequence % 100);
        let celsius = 20.0 + (sequence % 70) as f64 / 10.0;
        let reading = Reading { device: device.clone(), sequence, celsius };
        let json = serde_json::to_vec(&reading).expect("a reading is valid JSON");
        Record::from((device, json))
    });
    stream::iter(readings).map(Ok).forward(&mut sink).await?;

    let totals = sink.totals();
    println!(
        "{} readings in {} requests and {:.1} s; throttled {} times, {} failed",
        totals.delivered,
        totals.requests,
        began.elapsed().as_secs_f64(),
        totals.throttled,
        totals.failed
    );
    Ok(())
}

/// For tower's `Retry`. A request is cheap to keep: cloning it copies nothing.
#[derive(Clone)]
struct OnceMoreAfterTimeout {
    left: usize,
}

impl Policy<PutRecordsRequest, PutRecordsResponse, TimeoutError> for OnceMoreAfterTimeout {
    type Future = std::future::Ready<()>;

    fn retry(
        &mut self,
        _: &mut PutRecordsRequest,
        result: &mut Result<PutRecordsResponse, TimeoutError>,
    ) -> Option<Self::Future> {
        if !matches!(result, Err(TimeoutError::Elapsed { .. })) {
            return None;
        }
        self.left = self.left.checked_sub(1)?;
        Some(std::future::ready(()))
    }

    fn clone_request(&mut self, request: &PutRecordsRequest) -> Option<PutRecordsRequest> {
        Some(request.clone())
    }
}
