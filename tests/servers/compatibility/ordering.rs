//! Tests `RecordOrdering::PerKey` with failures that are injected between the sink and the server.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use futures::{SinkExt, stream};
use kinesis_sink::service::{Entry, EntryError, PutRecords, PutRecordsRequest, PutRecordsResponse};
use kinesis_sink::{Record, RecordOrdering};
use tower::{BoxError, ServiceExt, service_fn};

use super::server::Server;

const RECORDS: usize = 240;
const KEYS: usize = 12;

async fn fail_every_third(
    service: PutRecords,
    entry_count: Arc<AtomicUsize>,
    request: PutRecordsRequest,
) -> Result<PutRecordsResponse, BoxError> {
    let passes = |entry| (entry_count.fetch_add(1, Relaxed) % 3 != 1).then_some(entry);
    let passed: Vec<Option<Entry>> = request.entries().iter().cloned().map(passes).collect();
    let entries: Vec<Entry> = passed.iter().flatten().cloned().collect();
    let results = if entries.is_empty() {
        vec![]
    } else {
        let request = PutRecordsRequest::new(request.stream().clone(), entries);
        service.oneshot(request).await?.into_results()
    };
    let mut results = results.into_iter();
    let result = |entry: &Option<Entry>| match entry {
        Some(_) => results.next().expect("one result per entry"),
        None => Err(EntryError::new("InternalFailure", "injected")),
    };
    Ok(PutRecordsResponse::new(passed.iter().map(result).collect()))
}

pub async fn retries_keep_order_per_key(server: &Server) {
    let stream = server.stream(2).await;
    let service = PutRecords::new(server.client());
    let entry_count = Arc::new(AtomicUsize::new(0));
    let service =
        service_fn(move |request| fail_every_third(service.clone(), entry_count.clone(), request));
    let limits = server.limits().with_request_entries(5);
    let builder = server
        .builder(stream.name())
        .with_ordering(RecordOrdering::PerKey)
        .configure(|settings| settings.limits = limits);
    let mut sink = builder.build_with(service).expect("the settings are valid");
    let record =
        |number: usize| Record::from((format!("key {}", number % KEYS), number.to_string()));
    let mut records = stream::iter((0..RECORDS).map(record).map(Ok));
    sink.send_all(&mut records).await.expect("all records are delivered");
    assert!(sink.totals().requeued > 20, "{}", sink.totals().requeued);
    let mut last = HashMap::new();
    let found = stream.read().await;
    assert_eq!(found.len(), RECORDS, "no record is missing or duplicated");
    for found in found {
        let number: usize = std::str::from_utf8(&found.data).unwrap().parse().unwrap();
        let before = last.insert(found.partition_key, number);
        assert!(before.is_none_or(|before| before < number), "{number} after {before:?}");
    }
}
