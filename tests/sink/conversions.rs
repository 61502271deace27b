//! Tests that convert and serialize records, keys, and undelivered records.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Debug;
use std::time::Duration;

use bytes::Bytes;
use futures::SinkExt;
use kinesis_sink::record::{FailureReason, HashKey, Key};
use kinesis_sink::sim::{Faults, SimStream};
use kinesis_sink::{Delivery, KinesisSink, PartitionKey, Record, Undelivered};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

async fn undelivered(record: Record, faults: Faults) -> Undelivered {
    let stream = SimStream::builder().with_faults(faults).build().unwrap();
    let builder = KinesisSink::builder("example").configure(|settings| {
        settings.max_attempts = Some(3);
        settings.seed = Some(1);
    });
    let producer = builder.build(&stream.client()).unwrap().spawn();
    producer.put(record).await.unwrap().await.unwrap_err()
}

async fn undelivered_of_each_reason() -> Vec<Undelivered> {
    let record = || Record::from(("device-7", "a line"));
    let faults = Faults::default();
    let throttles = faults.clone().with_throttles(1.0);
    let rejecting = faults.clone().with_poisoned_requests("line", Some("ValidationException"), 400);
    let refusing = faults.with_outage("AccessDeniedException", 400);
    let mut all = vec![
        undelivered(record(), rejecting).await,
        undelivered(record(), throttles.clone()).await,
        undelivered(record(), refusing).await,
    ];

    let stream = SimStream::builder().with_faults(throttles).build().unwrap();
    let deadline = Duration::from_millis(2_500);
    let builder = KinesisSink::builder(stream.id()).with_deadline(deadline);
    let mut sink = builder.build(&stream.client()).unwrap();
    sink.send(record()).await.unwrap_err();
    all.extend(sink.take_failed());
    sink.feed(record()).await.unwrap();
    all.extend(sink.take_undelivered());

    let (tracked, mut receipt) = record().tracked();
    sink.feed(tracked).await.unwrap();
    drop(sink);
    all.push(receipt.try_outcome().unwrap().unwrap_err());
    let (tracked, mut receipt) = record().tracked();
    drop(tracked);
    all.push(receipt.try_outcome().unwrap().unwrap_err());
    all
}

fn through_json<T: Serialize + DeserializeOwned>(value: &T) -> T {
    serde_json::from_str(&serde_json::to_string(value).unwrap()).unwrap()
}

fn to_cbor(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).unwrap();
    bytes
}

fn through_cbor<T: Serialize + DeserializeOwned>(value: &T) -> T {
    ciborium::from_reader(&to_cbor(value)[..]).unwrap()
}

fn check_round_trip<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    assert_eq!(&through_json(value), value);
    assert_eq!(&through_cbor(value), value);
}

#[test]
fn record_converts_from_borrowed_and_owned() {
    let text = String::from("a line");
    let bytes = text.clone().into_bytes();
    let expected = Record::from("a line");
    let records = [
        Record::from(text.as_str()),
        Record::from(&text),
        Record::from(Cow::Borrowed(text.as_str())),
        Record::from(Cow::<str>::Owned(text.clone())),
        Record::from(text.clone().into_boxed_str()),
        Record::from(bytes.as_slice()),
        Record::from(b"a line"),
        Record::from(Cow::Borrowed(bytes.as_slice())),
        Record::from(Cow::<[u8]>::Owned(bytes.clone())),
        Record::from(bytes.clone().into_boxed_slice()),
        Record::from(Bytes::from_static(b"a line")),
        Record::from(bytes.clone()),
        Record::from(text.clone()),
    ];
    for record in records {
        assert_eq!(record, expected);
    }
    let keyed = Record::from(("device-7", bytes.as_slice()));
    assert_eq!(keyed, expected.clone().with_partition_key("device-7"));
    let rekeyed = Record::from((String::from("device-8"), keyed));
    assert_eq!(rekeyed, expected.with_partition_key("device-8"));
}

#[test]
fn static_data_is_not_copied() {
    static DATA: &[u8] = b"a line that is never copied";
    let record = Record::from(("device-7", Bytes::from_static(DATA)));
    assert_eq!(record.data().as_ptr(), DATA.as_ptr());
}

#[tokio::test(start_paused = true)]
async fn undelivered_record_can_be_sent_again() {
    let record = Record::from(("device-7", "a line")).with_explicit_hash_key(7_u128);
    let lost = undelivered(record.clone(), Faults::default().with_throttles(1.0)).await;
    let lost = through_json(&lost);
    assert_eq!(lost.record(), &record);

    let stream = SimStream::new(2);
    let mut sink = KinesisSink::new(&stream.client(), lost.stream().unwrap()).unwrap();
    sink.send(lost.into()).await.unwrap();
    let [written] = &stream.written()[..] else { panic!("{stream:?}") };
    assert_eq!(written.data(), "a line");
    assert_eq!(written.partition_key().unwrap(), "device-7");
    assert_eq!(written.explicit_hash_key(), Some(HashKey::new(7)));
}

#[test]
fn key_compares_and_hashes_like_str() {
    let long = "device-with-a-name-of-more-than-23-bytes";
    for text in ["device-7", long] {
        let key = Key::from(text);
        assert_eq!(key, *text);
        assert_eq!(key, text);
        assert_eq!(key, Key::from(String::from(text)));
        assert_eq!(key, Key::from(text.to_owned().into_boxed_str()));
        assert_eq!(key, Key::from(Cow::Borrowed(text)));
        assert_eq!(key.to_string(), text);
        assert_eq!(format!("{key:>50}"), format!("{text:>50}"));
        assert_eq!(format!("{key:?}"), format!("{} bytes", text.len()));
        let as_ref: &str = key.as_ref();
        assert_eq!(as_ref, text);
        let counts = HashMap::from([(key, 3)]);
        assert_eq!(counts.get(text), Some(&3), "hash differs from that of the text");
    }
    assert_eq!(PartitionKey::from(Cow::Borrowed("a")), PartitionKey::Explicit("a".into()));
    assert_eq!(u128::from(HashKey::new(7)), 7);
}

#[test]
fn record_round_trips_through_json() {
    let record = Record::from(b"\xff\xfe?");
    let explicit = record.clone().with_partition_key("random").with_explicit_hash_key(u128::MAX);
    let managed = record.clone().with_partition_key(PartitionKey::ServiceManaged);
    let value = |key: Value, hash_key: Value| json!({"data": "//4/", "partition_key": key, "explicit_hash_key": hash_key});
    let top = "340282366920938463463374607431768211455";
    for (record, expected) in [
        (record, value(json!("random"), json!(null))),
        (explicit, value(json!({"explicit": "random"}), json!(top))),
        (managed, value(json!("service_managed"), json!(null))),
    ] {
        assert_eq!(serde_json::to_value(&record).unwrap(), expected);
        check_round_trip(&record);
    }
    check_round_trip(&Record::from("").with_explicit_hash_key(0_u128));
}

#[test]
fn record_json_requires_only_data() {
    let read = |text| serde_json::from_str::<Record>(text).map_err(|error| error.to_string());
    assert_eq!(read(r#"{"data": "aGk="}"#), Ok(Record::from("hi")));
    let keyed = r#"{"partition_key": {"explicit": "a"}, "data": ""}"#;
    assert_eq!(read(keyed), Ok(Record::from(("a", ""))));
    for (text, error) in [
        (r#"{}"#, "missing field `data`"),
        (r#"{"data": "aGk"}"#, "data is not base64"),
        (r#"{"data": "_-8="}"#, "data is not base64"),
        (r#"{"data": "secret!"}"#, "data is not base64"),
        (r#"{"data": "", "partition-key": {"explicit": "a"}}"#, "unknown field `partition-key`"),
        (r#"{"data": "", "explicit_hash_key": "-1"}"#, "not a hash key: use decimal digits"),
    ] {
        let shown = read(text).unwrap_err();
        assert!(shown.starts_with(error) && !shown.contains("secret"), "{text}: {shown}");
    }
}

#[test]
fn binary_format_stores_data_as_bytes() {
    let data = vec![0xff; 10_000];
    let record = Record::from(data.as_slice()).with_explicit_hash_key(u128::MAX);
    let bytes = to_cbor(&record);
    assert!(bytes.len() < data.len() + 100, "{}", bytes.len());
    assert!(
        bytes.windows(data.len()).any(|window| window == data),
        "data is not stored as raw bytes"
    );
}

#[test]
fn flattened_record_keeps_binary_data() {
    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Line {
        source: String,
        #[serde(flatten)]
        record: Record,
    }
    let record = Record::from(b"\xff\x00").with_explicit_hash_key(7_u128);
    check_round_trip(&Line { source: "example.log".to_owned(), record });
}

#[tokio::test(start_paused = true)]
async fn undelivered_round_trips_for_each_reason() {
    let all = undelivered_of_each_reason().await;
    let codes: Vec<_> = all.iter().map(|undelivered| undelivered.reason().code()).collect();
    assert_eq!(
        codes,
        [
            "rejected",
            "attempts_exhausted",
            "refused",
            "deadline_exceeded",
            "withdrawn",
            "abandoned",
            "dropped"
        ]
    );
    for undelivered in &all {
        check_round_trip(undelivered);
        let value = serde_json::to_value(undelivered).unwrap();
        let code = undelivered.reason().code();
        let reason = &value["reason"];
        assert!(reason == code || reason.get(code).is_some(), "{value}");
        let stream = undelivered.stream().map(AsRef::as_ref);
        assert_eq!(value["stream"].as_str(), stream, "{value}");
        assert_eq!(stream.is_none(), *undelivered.reason() == FailureReason::Dropped);
        assert_eq!(through_json(undelivered).into_record(), Record::from(("device-7", "a line")));
    }
    let exhausted = &all[1];
    assert_eq!(exhausted.history().len(), 3, "history of attempts");
    assert_eq!(
        serde_json::to_value(&all[3]).unwrap()["reason"]["deadline_exceeded"]["deadline"],
        "2s 500ms"
    );
}

#[tokio::test(start_paused = true)]
async fn dead_letter_file_has_one_line_per_record() {
    let all = undelivered_of_each_reason().await;
    let mut file = Vec::new();
    for undelivered in &all {
        serde_json::to_writer(&mut file, undelivered).unwrap();
        file.push(b'\n');
    }
    assert_eq!(file.iter().filter(|byte| **byte == b'\n').count(), all.len());
    let read = serde_json::Deserializer::from_slice(&file).into_iter();
    let read: Vec<Undelivered> = read.collect::<Result<_, _>>().unwrap();
    assert_eq!(read, all);
}

#[test]
fn undelivered_rejects_unknown_fields() {
    let line = json!({
        "record": {"data": ""}, "reason": "dropped", "attempts": 0,
        "may_have_been_written": false,
    });
    let read = serde_json::from_value::<Undelivered>(line.clone()).unwrap();
    assert_eq!((read.stream(), read.history().len()), (None, 0));
    for (field, value) in [("atempts", json!(1)), ("reason", json!({"withdrawn": {"lost": 1}}))] {
        let mut line = line.clone();
        line[field] = value;
        let error = serde_json::from_value::<Undelivered>(line).unwrap_err().to_string();
        assert!(error.starts_with("unknown field"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn delivery_round_trips() {
    let stream = SimStream::new(2);
    let producer = KinesisSink::new(&stream.client(), "example").unwrap().spawn();
    let receipt = producer.put(Record::from("a line")).await.unwrap();
    let delivery: Delivery = receipt.await.unwrap();
    check_round_trip(&delivery);
}

#[test]
fn deserialization_errors_redact_keys() {
    for key in
        [json!("MARKER"), json!(["MARKER"]), json!({"MARKER": 1}), json!({"explicit": ["MARKER"]})]
    {
        let record = json!({"data": "", "partition_key": key});
        let mut cbor = Vec::new();
        ciborium::into_writer(&record, &mut cbor).unwrap();
        let errors = [
            serde_json::from_value::<Record>(record).unwrap_err().to_string(),
            ciborium::from_reader::<Record, _>(&cbor[..]).unwrap_err().to_string(),
        ];
        assert!(!errors.concat().contains("MARKER"), "{errors:?}");
    }
    let error = serde_json::from_value::<PartitionKey>(json!("device-7")).unwrap_err().to_string();
    assert_eq!(
        error,
        r#"invalid value: another string, expected a partition key: {"explicit": ".."}, "random", or "service_managed""#
    );
}
