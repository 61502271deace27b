//! This crate's sink, fed by `forward`.

use std::time::Duration;

use futures::StreamExt;
use kinesis_sink::KinesisSink;
use kinesis_sink::timeout::TimeoutLayer;
use tokio::time::timeout_at;
use tower::ServiceBuilder;

use super::{Ended, Job};
use crate::load::number_of;
use crate::watched::Watched;

/// The time to send the rest in, after the source has ended. What is left is taken out: ten full buffers would
/// take as long as the run.
const DRAIN: Duration = Duration::from_secs(3);

pub async fn run(job: Job) -> Ended {
    let service = ServiceBuilder::new()
        .layer(TimeoutLayer::new(Duration::from_secs(10)))
        .service(job.stream.service());
    let builder = (job.settings)(KinesisSink::builder("example"))
        .configure(|settings| settings.seed = Some(job.seed));
    let sink = builder.build_with(service).expect("the settings are valid");
    let mut watched = Watched::new(sink);
    let end = job.source.end() + DRAIN;
    let records = job.source.map(|offered| Ok(offered.record()));
    if let Ok(sent) = timeout_at(end, records.forward(&mut watched)).await {
        sent.expect("nothing is fatal here");
    }
    job.gauge.note(watched.max_bytes);
    let held = watched.sink.take_undelivered();
    let held = held.iter().map(|undelivered| number_of(undelivered.record().data())).collect();
    Ended { accepted: watched.accepted, accepted_at: watched.accepted_at, held }
}
