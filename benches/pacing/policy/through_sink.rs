use std::time::Duration;

use futures::StreamExt;
use kinesis_sink::KinesisSink;
use kinesis_sink::timeout::TimeoutLayer;
use tokio::time::timeout_at;
use tower::ServiceBuilder;

use super::{Job, Outcome};
use crate::load::number_of;
use crate::watched::Watched;

/// Timeout for draining the sink after the source has ended. Draining ten full buffers would take as long as the run.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);

pub async fn run(job: Job) -> Outcome {
    let service = ServiceBuilder::new()
        .layer(TimeoutLayer::new(Duration::from_secs(10)))
        .service(job.stream.service());
    let builder = (job.settings)(KinesisSink::builder("example"))
        .configure(|settings| settings.seed = Some(job.seed));
    let sink = builder.build_with(service).expect("the settings are valid");
    let mut watched = Watched::new(sink);
    let end = job.source.end() + DRAIN_TIMEOUT;
    let records = job.source.map(|offered| Ok(offered.record()));
    if let Ok(sent) = timeout_at(end, records.forward(&mut watched)).await {
        sent.expect("no error is fatal here");
    }
    job.gauge.record(watched.max_bytes);
    let undelivered = watched.sink.take_undelivered();
    let buffered = undelivered.iter().map(|one| number_of(one.record().data())).collect();
    Outcome { accepted: watched.accepted, accepted_at: watched.accepted_at, buffered }
}
