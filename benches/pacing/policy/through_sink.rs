//! This crate's sink, fed by `forward`.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{Sink, SinkExt, StreamExt};
use kinesis_sink::sim::SimService;
use kinesis_sink::timeout::Timeout;
use kinesis_sink::{KinesisSink, Record, SinkError, TimeoutLayer};
use tokio::time::timeout_at;
use tower::ServiceBuilder;

use super::{Ended, Gauge, Job};
use crate::load::number_of;

/// The time to send the rest in, after the source has ended. What is left is taken out.
const DRAIN: Duration = Duration::from_secs(60);

pub async fn run(job: Job) -> Ended {
    let service = ServiceBuilder::new()
        .layer(TimeoutLayer::new(Duration::from_secs(10)))
        .service(job.stream.service());
    let builder = (job.settings)(KinesisSink::builder()).with_seed(job.seed);
    let sink = builder.build_with(service, "example").expect("the settings are valid");
    let mut watched = Watched { sink, gauge: &job.gauge, accepted: Vec::new() };
    let end = job.source.end() + DRAIN;
    let records = job.source.map(|offered| Ok(offered.record()));
    if let Ok(sent) = timeout_at(end, records.forward(&mut watched)).await {
        sent.expect("nothing is fatal here");
    }
    let held = watched.sink.take_undelivered();
    let held = held.iter().map(|undelivered| number_of(undelivered.record().data())).collect();
    Ended { accepted: watched.accepted, held }
}

/// The sink, with notes of what it accepts and how much it holds.
struct Watched<'a> {
    sink: KinesisSink<Timeout<SimService>>,
    gauge: &'a Gauge,
    accepted: Vec<u64>,
}

impl Sink<Record> for Watched<'_> {
    type Error = SinkError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SinkError>> {
        self.sink.poll_ready_unpin(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, record: Record) -> Result<(), SinkError> {
        let number = number_of(record.data());
        self.sink.start_send_unpin(record)?;
        self.accepted.push(number);
        // Nothing else makes it hold more.
        self.gauge.note(self.sink.held_bytes());
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SinkError>> {
        self.sink.poll_flush_unpin(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SinkError>> {
        self.sink.poll_close_unpin(cx)
    }
}
