//! Tests that the number of metric labels stays limited, whatever the server returns.

use std::collections::BTreeSet;

use kinesis_sink::metrics::MetricsLayer;
use kinesis_sink::service::{
    Entry, EntryError, Placement, PutRecordsError, PutRecordsRequest, PutRecordsResponse,
};
use metrics_util::debugging::DebuggingRecorder;
use tower::{BoxError, Layer, ServiceExt, service_fn};

use super::secrets;

fn request() -> PutRecordsRequest {
    let record = secrets::record();
    let key = Some(secrets::KEY.into());
    let entry = Entry::new(record.data().clone(), key, record.explicit_hash_key());
    PutRecordsRequest::new("example".parse().unwrap(), vec![entry; 500])
}

/// Returns a failed request, failed entries, or deliveries to 500 shards. The error texts are different for each call.
async fn answer(call: usize, entries: usize) -> Result<PutRecordsResponse, BoxError> {
    let text = |place: usize| format!("{}-{call}-{place}", secrets::PAYLOAD);
    let results = |result: &dyn Fn(usize) -> Result<Placement, EntryError>| {
        Ok(PutRecordsResponse::new((0..entries).map(result).collect()))
    };
    match call % 3 {
        0 => Err(PutRecordsError::service(Some(&text(0)), Some(&text(1)), Some(400)).into()),
        1 => results(&|place| Err(EntryError::new(text(place), text(place)))),
        _ => results(&|place| Ok(Placement::new(text(place), text(place)))),
    }
}

#[tokio::test]
async fn unknown_codes_share_one_label() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    for call in 0..60 {
        let service = service_fn(move |request: PutRecordsRequest| async move {
            answer(call, request.entries().len()).await
        });
        MetricsLayer::new().layer(service).oneshot(request()).await.ok();
    }
    let keys = snapshotter.snapshot().into_vec().into_iter().map(|(key, ..)| key.key().clone());
    let keys: Vec<_> = keys.collect();
    let names: BTreeSet<_> = keys.iter().map(|key| key.name()).collect();
    assert_eq!((keys.len(), names.len()), (7, 7), "one key per metric: {keys:#?}");
    let labels: BTreeSet<_> = keys.iter().flat_map(|key| key.labels()).collect();
    let labels: Vec<_> = labels.iter().map(|label| (label.key(), label.value())).collect();
    assert_eq!(labels, [("code", "other"), ("stream", "example")]);
}
