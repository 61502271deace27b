//! An HTTP client that corrupts the responses of the stream before the SDK parses them.

use std::sync::{Arc, Mutex};

use aws_sdk_kinesis::config::RuntimeComponents;
use aws_sdk_kinesis::config::http::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_types::body::SdkBody;
use ciborium::Value;
use fastrand::Rng;
use kinesis_sink::sim::SimStream;

use super::ledger::SharedLedger;
use super::scenario::{Scenario, one_of};

/// A way to corrupt a response. A corrupted response never reports an entry as delivered that was not written.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Corruption {
    ResultRemoved,
    ResultAdded,
    NoRecords,
    RecordsTwice,
    WrongCount,
    MemberRemoved(&'static str),
    MemberNull(&'static str),
    MemberEmptied(&'static str),
    MissingMembersEmptied,
    MemberTwice(&'static str),
    ErrorCodeAdded,
    UnknownMembers,
    Truncated,
    Garbage,
    Empty,
    Status(u16),
}

const CORRUPTIONS: [Corruption; 21] = [
    Corruption::ResultRemoved,
    Corruption::ResultAdded,
    Corruption::NoRecords,
    Corruption::RecordsTwice,
    Corruption::WrongCount,
    Corruption::MemberRemoved("SequenceNumber"),
    Corruption::MemberRemoved("ShardId"),
    Corruption::MemberRemoved("ErrorCode"),
    Corruption::MemberRemoved("ErrorMessage"),
    Corruption::MemberNull("SequenceNumber"),
    Corruption::MemberNull("ErrorCode"),
    Corruption::MemberEmptied("SequenceNumber"),
    Corruption::MemberEmptied("ShardId"),
    Corruption::MissingMembersEmptied,
    Corruption::MemberTwice("SequenceNumber"),
    Corruption::MemberTwice("ErrorCode"),
    Corruption::ErrorCodeAdded,
    Corruption::UnknownMembers,
    Corruption::Truncated,
    Corruption::Garbage,
    Corruption::Empty,
];
const STATUSES: [u16; 4] = [301, 500, 502, 504];

#[derive(Debug, Clone)]
pub struct CorruptingClient<T = SharedHttpClient> {
    inner: T,
    share: f64,
    rng: Arc<Mutex<Rng>>,
    ledger: SharedLedger,
}

impl CorruptingClient {
    pub fn new(stream: &SimStream, scenario: &Scenario, ledger: &SharedLedger) -> Self {
        let inner = stream.client().config().http_client().expect("the client has an HTTP client");
        let rng = Arc::new(Mutex::new(Rng::with_seed(scenario.seed)));
        Self { inner, share: scenario.faults.corrupted, rng, ledger: ledger.clone() }
    }
}

impl HttpClient for CorruptingClient {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let Self { inner, share, rng, ledger } = self.clone();
        let inner = inner.http_connector(settings, components);
        SharedHttpConnector::new(CorruptingClient { inner, share, rng, ledger })
    }
}

impl HttpConnector for CorruptingClient<SharedHttpConnector> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let is_cbor =
            request.headers().get("content-type").is_some_and(|kind| kind.contains("cbor"));
        let response = self.inner.call(request);
        let mut rng = self.rng.lock().unwrap().fork();
        let ledger = self.ledger.clone();
        let is_corrupted = rng.f64() < self.share && !ledger.lock().faults_are_over;
        HttpConnectorFuture::new(async move {
            let response = response.await?;
            if !is_corrupted || !response.status().is_success() {
                return Ok(response);
            }
            ledger.lock().coverage.count("a corrupted response", 1);
            Ok(corrupt(response, is_cbor, &mut rng, &ledger))
        })
    }
}

fn corrupt(
    response: HttpResponse,
    is_cbor: bool,
    rng: &mut Rng,
    ledger: &SharedLedger,
) -> HttpResponse {
    let body = response.body().bytes().expect("the response is in memory");
    let mut value = read(body, is_cbor);
    let corruption = match rng.u8(..8) {
        0 => Corruption::Status(one_of(rng, &STATUSES)),
        _ => one_of(rng, &CORRUPTIONS),
    };
    if corruption == Corruption::ErrorCodeAdded {
        ledger.lock().add_reported_failed(sequence_numbers(&value));
    }
    let body = match corruption {
        Corruption::Truncated => body[..rng.usize(..body.len())].to_vec(),
        Corruption::Garbage => (0..rng.usize(1..200)).map(|_| rng.u8(..)).collect(),
        Corruption::Empty => Vec::new(),
        _ => {
            change(&mut value, corruption, rng);
            write(&value, is_cbor)
        }
    };
    let status = match corruption {
        Corruption::Status(status) => status.try_into().expect("the status is valid"),
        _ => response.status(),
    };
    let mut corrupted = HttpResponse::new(status, SdkBody::from(body));
    *corrupted.headers_mut() = response.headers().clone();
    corrupted
}

/// Members of a JSON or CBOR map, in which a name can occur twice.
type Members = Vec<(Value, Value)>;

fn change(response: &mut Value, corruption: Corruption, rng: &mut Rng) {
    let members = response.as_map_mut().expect("a response is a map");
    match corruption {
        Corruption::NoRecords => members.retain(|(name, _)| !is(name, "Records")),
        Corruption::RecordsTwice => {
            let records = members.iter().find(|(name, _)| is(name, "Records")).cloned();
            members.extend(records);
        }
        Corruption::WrongCount => {
            let count = members.iter_mut().find(|(name, _)| is(name, "FailedRecordCount"));
            count.expect("a response has a count").1 = Value::from(rng.u32(..600));
        }
        Corruption::UnknownMembers => {
            members.insert(0, member("Unheard", Value::Array(Vec::new())))
        }
        Corruption::ResultRemoved => drop(results(members).pop()),
        Corruption::ResultAdded => {
            let results = results(members);
            let copy = results.first().cloned();
            results.extend(copy);
        }
        _ => {
            let all = rng.bool();
            for result in results(members).iter_mut().filter(|_| all || rng.bool()) {
                change_result(result.as_map_mut().expect("a result is a map"), corruption);
            }
        }
    }
}

fn change_result(result: &mut Members, corruption: Corruption) {
    match corruption {
        Corruption::MemberRemoved(removed) => result.retain(|(name, _)| !is(name, removed)),
        Corruption::MemberNull(nulled) => replace(result, nulled, &Value::Null),
        Corruption::MemberEmptied(emptied) => replace(result, emptied, &Value::from("")),
        Corruption::MissingMembersEmptied => {
            for name in ["ShardId", "SequenceNumber", "ErrorCode", "ErrorMessage"] {
                if !result.iter().any(|(known, _)| is(known, name)) {
                    result.push(member(name, Value::from("")));
                }
            }
        }
        Corruption::MemberTwice(doubled) => {
            let copy = result.iter().find(|(name, _)| is(name, doubled)).cloned();
            result.extend(copy);
        }
        Corruption::ErrorCodeAdded => {
            result.push(member("ErrorCode", Value::from("InternalFailure")))
        }
        _ => {}
    }
}

fn replace(members: &mut Members, name: &str, value: &Value) {
    for (_, old) in members.iter_mut().filter(|(other, _)| is(other, name)) {
        *old = value.clone();
    }
}

fn member(name: &str, value: Value) -> (Value, Value) {
    (Value::from(name), value)
}

fn is(value: &Value, text: &str) -> bool {
    value.as_text() == Some(text)
}

fn results(response: &mut Members) -> &mut Vec<Value> {
    let records = response.iter_mut().find(|(name, _)| is(name, "Records"));
    records.and_then(|(_, records)| records.as_array_mut()).expect("a response has results")
}

fn sequence_numbers(response: &Value) -> Vec<String> {
    let mut members = response.as_map().cloned().expect("a response is a map");
    let results = results(&mut members).iter().filter_map(Value::as_map);
    let numbers = results.flatten().filter(|(name, _)| is(name, "SequenceNumber"));
    numbers.filter_map(|(_, number)| number.as_text().map(str::to_owned)).collect()
}

fn read(body: &[u8], is_cbor: bool) -> Value {
    if is_cbor {
        ciborium::from_reader(body).expect("the stream writes CBOR")
    } else {
        serde_json::from_slice(body).expect("the stream writes JSON")
    }
}

fn write(value: &Value, is_cbor: bool) -> Vec<u8> {
    if !is_cbor {
        return serde_json::to_vec(value).expect("the value was read from JSON");
    }
    let mut body = Vec::new();
    ciborium::into_writer(value, &mut body).expect("a write to a vector succeeds");
    body
}
