use std::time::Duration;

use bytes::Bytes;
use futures::future::try_join_all;
use kinesis_sink::limits::Limits;
use kinesis_sink::metrics::MetricsGranularity;
use kinesis_sink::router::RouterSettings;
use kinesis_sink::{Record, Router};

use super::service::MockService;

/// Records that are sent to one stream in succession, and entries per request at most. With any number of streams,
/// requests therefore have the same size.
pub const BURST: usize = 20;
/// Bursts in progress at the same time, unless all are. Their requests do not exceed the budget of 256.
pub const WAVE: usize = 100;
const DATA_BYTES: usize = 100;

/// Returns the settings of a router without quotas. `idle_timeout` exceeds the duration of each measurement.
pub fn settings(streams: usize) -> RouterSettings {
    let mut settings = RouterSettings::default();
    settings.max_streams = streams;
    settings.idle_timeout = Duration::from_secs(2 * 60 * 60);
    settings.defaults.seed = Some(1);
    settings.defaults.limits = Limits::default()
        .with_request_entries(BURST)
        .with_shard_records(1_000_000_000)
        .with_shard_bytes(1 << 40);
    settings
}

pub fn without_metrics(mut settings: RouterSettings) -> RouterSettings {
    settings.metric_streams = 0;
    settings.defaults.metrics = MetricsGranularity::Off;
    settings
}

pub fn route(settings: RouterSettings, service: &MockService) -> Router {
    let router = Router::builder().with_settings(settings).spawn_with(service.clone());
    router.expect("the settings are valid")
}

pub fn names(streams: usize) -> Vec<String> {
    (0..streams).map(|number| format!("stream-{number:06}")).collect()
}

/// Records created in advance. Cloning one does not copy its payload.
pub fn burst() -> Vec<Record> {
    let payload = Bytes::from(vec![b'.'; DATA_BYTES]);
    (0..BURST)
        .map(|number| Record::from((format!("device-{number:07}"), payload.clone())))
        .collect()
}

/// Sends the records to each of the streams, and waits until they are delivered. At most `wave` bursts are in
/// progress.
pub async fn send(
    router: &Router,
    streams: impl IntoIterator<Item = &String>,
    records: &[Record],
    wave: usize,
) {
    let (last, others) = records.split_last().expect("a burst has records");
    let mut streams = streams.into_iter().peekable();
    while streams.peek().is_some() {
        let mut receipts = Vec::new();
        for stream in streams.by_ref().take(wave) {
            for record in others {
                router.send_to(stream, record.clone()).await.expect("the router accepts records");
            }
            let receipt = router.put_to(stream, last.clone()).await;
            receipts.push(receipt.expect("the router accepts records"));
        }
        try_join_all(receipts).await.expect("the service delivers every record");
    }
}
