//! Tests of the `Debug` and `Display` output of each public type that can contain a secret.

use std::error::Error;

use futures::SinkExt;
use kinesis_sink::aggregate::{Member, deaggregate, encode};
use kinesis_sink::record::{HashKey, Key};
use kinesis_sink::service::{
    Entry, EntryError, PutRecords, PutRecordsError, PutRecordsErrorKind, PutRecordsRequest,
    PutRecordsResponse, SdkStreamInfo,
};
use kinesis_sink::sim::SimStream;
use kinesis_sink::timeout::Timeout;
use kinesis_sink::trace::Trace;
use kinesis_sink::{ErrorKind, KinesisSink, PartitionKey};
use tower::Service;

use super::failures::with_credentials;
use super::secrets::{
    self, HASH_KEY, KEY, PAYLOAD, assert_debug_redacted, assert_display_redacted,
    assert_error_redacted,
};

fn entry() -> Entry {
    let record = secrets::record();
    Entry::new(record.data().clone(), Some(KEY.into()), record.explicit_hash_key())
}

fn request() -> PutRecordsRequest {
    PutRecordsRequest::new("example".parse().unwrap(), vec![entry(), entry()])
}

#[test]
fn records_and_entries_reveal_no_secret() {
    let (record, receipt) = secrets::record().tracked();
    assert_debug_redacted(&(&record, &receipt));
    assert_debug_redacted(&(Key::from(KEY), PartitionKey::from(KEY), HashKey::new(HASH_KEY)));
    assert_debug_redacted(&(entry(), request()));
    let member = Member::new(KEY, PAYLOAD).with_explicit_hash_key(HASH_KEY);
    let data = encode(&[member.clone(), member.clone()]).unwrap();
    let mut members = deaggregate(&data);
    assert_debug_redacted(&(&member, &members));
    assert_debug_redacted(&members.next());
    assert_debug_redacted(&deaggregate(record.data()));
}

#[test]
fn record_errors_reveal_no_secret() {
    let stream = SimStream::new(1);
    let mut sink = KinesisSink::builder("example").build_with(stream.service()).unwrap();
    let long = |text: &str, times: usize| text.repeat(times);
    let invalid = ErrorKind::InvalidPartitionKey;
    let large = kinesis_sink::Record::from((KEY, long(PAYLOAD, 50_000)));
    for (record, kind) in [
        (secrets::record().with_partition_key(""), invalid),
        (secrets::record().with_partition_key(long(KEY, 20)), invalid),
        (large, ErrorKind::RecordTooLarge),
    ] {
        let refused = sink.start_send_unpin(record).unwrap_err();
        assert_eq!(refused.kind(), kind);
        assert_error_redacted(&refused);
        assert_display_redacted(&refused);
        assert_debug_redacted(&refused.into_record().unwrap());
    }
    assert_error_redacted(&format!("{HASH_KEY}0").parse::<HashKey>().unwrap_err());
    assert_error_redacted(&KEY.parse::<HashKey>().unwrap_err());
}

#[test]
fn response_errors_reveal_no_secret() {
    let value = format!("Value '{KEY}' at 'records.1.member.partitionKey' is not right");
    let of_entry = EntryError::new("ValidationException", &value);
    assert_display_redacted(&of_entry);
    let response = PutRecordsResponse::new(vec![Err(of_entry.clone()), Err(of_entry)]);
    assert_debug_redacted(&(&response, response.errors()));
    let of_request = PutRecordsError::service(Some("ValidationException"), Some(&value), Some(400));
    assert_error_redacted(&of_request);
    let source: Box<dyn Error + Send + Sync> = of_request.into();
    let wrapped = PutRecordsError::new(PutRecordsErrorKind::Response, Some(source));
    assert_error_redacted(&wrapped);
}

#[tokio::test]
async fn services_and_calls_reveal_no_secret() {
    let stream = SimStream::new(1);
    let client = with_credentials(&stream.client());
    let put_records = PutRecords::new(&client);
    assert_debug_redacted(&(&put_records, SdkStreamInfo::new(&client)));
    let mut service = stream.service();
    let call = service.call(request());
    assert_debug_redacted(&service);
    call.await.unwrap();
    let limit = std::time::Duration::from_secs(1);
    let ready = |_: PutRecordsRequest| {
        std::future::ready(Ok::<_, PutRecordsError>(PutRecordsResponse::new(Vec::new())))
    };
    assert_debug_redacted(&Timeout::new(tower::service_fn(ready), limit).call(request()));
    assert_debug_redacted(&Trace::new(tower::service_fn(ready)).call(request()));
    #[cfg(feature = "metrics")]
    {
        let mut measured = kinesis_sink::metrics::Metrics::new(tower::service_fn(ready));
        assert_debug_redacted(&measured.call(request()));
    }
    assert_debug_redacted(&(&stream, SimStream::builder(), stream.stats()));
    assert_eq!(stream.written()[0].data(), PAYLOAD);
    assert_debug_redacted(&stream.written());
    let producer = KinesisSink::builder("example").build(&client).unwrap().spawn();
    let receipt = producer.put(secrets::record()).await.unwrap();
    assert_debug_redacted(&receipt.await.unwrap());
    assert_debug_redacted(&(producer.status().totals, producer.limits(), producer.stream()));
    producer.close().await.unwrap();
}
