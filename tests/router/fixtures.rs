use std::time::Duration;

use kinesis_sink::router::{RouterBuilder, RouterSettings};
use kinesis_sink::service::{PutRecordsRequest, PutRecordsResponse};
use kinesis_sink::{Record, Router, StreamId, Undelivered};
use tower::BoxError;

use crate::support::mock_service::{MockService, all_delivered, text};

pub const IDLE_TIMEOUT: Duration = Duration::from_secs(80);

pub fn settings() -> RouterSettings {
    let mut settings = RouterSettings::default();
    settings.idle_timeout = IDLE_TIMEOUT;
    settings.defaults.seed = Some(1);
    settings
}

pub fn builder() -> RouterBuilder {
    Router::builder().with_settings(settings())
}

/// Returns a builder with changed settings.
pub fn configured(change: impl FnOnce(&mut RouterSettings)) -> RouterBuilder {
    let mut settings = settings();
    change(&mut settings);
    Router::builder().with_settings(settings)
}

pub fn route(service: &MockService) -> Router {
    builder().spawn_with(service.clone()).unwrap()
}

pub fn record(data: impl ToString) -> Record {
    Record::from(data.to_string())
}

pub fn id(stream: &str) -> StreamId {
    stream.parse().unwrap()
}

/// Returns a service whose response to a request for `stream` is the result of `script`. Delivers all other requests.
pub fn for_stream(
    stream: &'static str,
    mut script: impl FnMut(&PutRecordsRequest) -> Result<PutRecordsResponse, BoxError> + Send + 'static,
) -> MockService {
    MockService::new(move |_, request| {
        if request.stream().name() == stream { script(request) } else { Ok(all_delivered(request)) }
    })
}

/// Returns the data of all entries that were sent to a stream, in order.
pub fn sent_to(service: &MockService, stream: &str) -> Vec<String> {
    let requests = service.requests().into_iter();
    let requests = requests.filter(|request| request.stream().as_ref() == stream);
    requests
        .flat_map(|request| {
            request.entries().iter().map(|entry| text(entry.data())).collect::<Vec<_>>()
        })
        .collect()
}

/// Returns the names of the open streams, sorted.
pub fn open_streams(router: &Router) -> Vec<String> {
    let statuses = router.stream_statuses().into_iter();
    let mut open: Vec<_> = statuses.map(|status| status.stream.to_string()).collect();
    open.sort();
    open
}

/// Returns the stream and the data of each record, sorted.
pub fn streams_and_texts(undelivered: &[Undelivered]) -> Vec<(String, String)> {
    let pair =
        |each: &Undelivered| (each.stream().unwrap().to_string(), text(each.record().data()));
    let mut pairs: Vec<_> = undelivered.iter().map(pair).collect();
    pairs.sort();
    pairs
}

pub fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|&(stream, data)| (stream.to_owned(), data.to_owned())).collect()
}
