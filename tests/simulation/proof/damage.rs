//! Damages answers on their way from the stream to the SDK.

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

use super::drawn::{Drawn, one_of};
use super::ledger::Shared;

/// What becomes of an answer. None of it makes a delivery of what was not written.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Damage {
    ResultDropped,
    ResultAdded,
    NoRecords,
    RecordsTwice,
    WrongCount,
    /// Of some results, the member with this name.
    Without(&'static str),
    Null(&'static str),
    /// In some results, the member with this name is an empty string.
    Emptied(&'static str),
    /// Missing members of some results are empty strings instead.
    NothingMissing,
    Twice(&'static str),
    /// Some deliveries come with an error's code.
    CodeBeside,
    UnknownMembers,
    CutOff,
    Garbage,
    Empty,
    Status(u16),
}

const DAMAGES: [Damage; 21] = [
    Damage::ResultDropped,
    Damage::ResultAdded,
    Damage::NoRecords,
    Damage::RecordsTwice,
    Damage::WrongCount,
    Damage::Without("SequenceNumber"),
    Damage::Without("ShardId"),
    Damage::Without("ErrorCode"),
    Damage::Without("ErrorMessage"),
    Damage::Null("SequenceNumber"),
    Damage::Null("ErrorCode"),
    Damage::Emptied("SequenceNumber"),
    Damage::Emptied("ShardId"),
    Damage::NothingMissing,
    Damage::Twice("SequenceNumber"),
    Damage::Twice("ErrorCode"),
    Damage::CodeBeside,
    Damage::UnknownMembers,
    Damage::CutOff,
    Damage::Garbage,
    Damage::Empty,
];
const STATUSES: [u16; 4] = [301, 500, 502, 504];

/// An HTTP client that the SDK takes for its own.
#[derive(Debug, Clone)]
pub struct Damaging<T = SharedHttpClient> {
    inner: T,
    share: f64,
    rng: Arc<Mutex<Rng>>,
    ledger: Shared,
}

impl Damaging {
    pub fn new(stream: &SimStream, drawn: &Drawn, ledger: &Shared) -> Self {
        let inner = stream.client().config().http_client().expect("the stream has one");
        let rng = Arc::new(Mutex::new(Rng::with_seed(drawn.seed)));
        Self { inner, share: drawn.trouble.damaged, rng, ledger: ledger.clone() }
    }
}

impl HttpClient for Damaging {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let Self { inner, share, rng, ledger } = self.clone();
        let inner = inner.http_connector(settings, components);
        SharedHttpConnector::new(Damaging { inner, share, rng, ledger })
    }
}

impl HttpConnector for Damaging<SharedHttpConnector> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let is_cbor =
            request.headers().get("content-type").is_some_and(|kind| kind.contains("cbor"));
        let answer = self.inner.call(request);
        let mut rng = self.rng.lock().unwrap().fork();
        let ledger = self.ledger.clone();
        let damaged = rng.f64() < self.share && !ledger.lock().trouble_is_over;
        HttpConnectorFuture::new(async move {
            let answer = answer.await?;
            if !damaged || !answer.status().is_success() {
                return Ok(answer);
            }
            ledger.lock().seen.note("a damaged answer", 1);
            Ok(damage(answer, is_cbor, &mut rng, &ledger))
        })
    }
}

fn damage(answer: HttpResponse, is_cbor: bool, rng: &mut Rng, ledger: &Shared) -> HttpResponse {
    let body = answer.body().bytes().expect("the stream's answers are in memory");
    let mut value = read(body, is_cbor);
    let damage = match rng.u8(..8) {
        0 => Damage::Status(one_of(rng, &STATUSES)),
        _ => one_of(rng, &DAMAGES),
    };
    if damage == Damage::CodeBeside {
        ledger.lock().excuse(written(&value));
    }
    let body = match damage {
        Damage::CutOff => body[..rng.usize(..body.len())].to_vec(),
        Damage::Garbage => (0..rng.usize(1..200)).map(|_| rng.u8(..)).collect(),
        Damage::Empty => Vec::new(),
        _ => {
            change(&mut value, damage, rng);
            write(&value, is_cbor)
        }
    };
    let status = match damage {
        Damage::Status(status) => status.try_into().expect("it is one of HTTP's"),
        _ => answer.status(),
    };
    let mut damaged = HttpResponse::new(status, SdkBody::from(body));
    *damaged.headers_mut() = answer.headers().clone();
    damaged
}

/// Maps of this type may have a member twice, in both formats.
type Members = Vec<(Value, Value)>;

fn change(answer: &mut Value, damage: Damage, rng: &mut Rng) {
    let members = answer.as_map_mut().expect("an answer is a map");
    match damage {
        Damage::NoRecords => members.retain(|(name, _)| !is(name, "Records")),
        Damage::RecordsTwice => {
            let records = members.iter().find(|(name, _)| is(name, "Records")).cloned();
            members.extend(records);
        }
        Damage::WrongCount => {
            let count = members.iter_mut().find(|(name, _)| is(name, "FailedRecordCount"));
            count.expect("it has a count").1 = Value::from(rng.u32(..600));
        }
        Damage::UnknownMembers => members.insert(0, member("Unheard", Value::Array(Vec::new()))),
        Damage::ResultDropped => drop(results(members).pop()),
        Damage::ResultAdded => {
            let results = results(members);
            let copy = results.first().cloned();
            results.extend(copy);
        }
        _ => {
            let all = rng.bool();
            for result in results(members).iter_mut().filter(|_| all || rng.bool()) {
                change_result(result.as_map_mut().expect("a result is a map"), damage);
            }
        }
    }
}

fn change_result(result: &mut Members, damage: Damage) {
    match damage {
        Damage::Without(lost) => result.retain(|(name, _)| !is(name, lost)),
        Damage::Null(nulled) => {
            let of_name = result.iter_mut().filter(|(name, _)| is(name, nulled));
            of_name.for_each(|(_, value)| *value = Value::Null);
        }
        Damage::Emptied(emptied) => {
            let of_name = result.iter_mut().filter(|(name, _)| is(name, emptied));
            of_name.for_each(|(_, value)| *value = Value::from(""));
        }
        Damage::NothingMissing => {
            for name in ["ShardId", "SequenceNumber", "ErrorCode", "ErrorMessage"] {
                if !result.iter().any(|(known, _)| is(known, name)) {
                    result.push(member(name, Value::from("")));
                }
            }
        }
        Damage::Twice(doubled) => {
            let copy = result.iter().find(|(name, _)| is(name, doubled)).cloned();
            result.extend(copy);
        }
        Damage::CodeBeside => result.push(member("ErrorCode", Value::from("InternalFailure"))),
        _ => {}
    }
}

fn member(name: &str, value: Value) -> (Value, Value) {
    (Value::from(name), value)
}

fn is(value: &Value, text: &str) -> bool {
    value.as_text() == Some(text)
}

fn results(answer: &mut Members) -> &mut Vec<Value> {
    let records = answer.iter_mut().find(|(name, _)| is(name, "Records"));
    records.and_then(|(_, records)| records.as_array_mut()).expect("an answer has results")
}

/// The sequence numbers of what was written.
fn written(answer: &Value) -> Vec<String> {
    let mut members = answer.as_map().cloned().expect("an answer is a map");
    let results = results(&mut members).iter().filter_map(Value::as_map);
    let numbers = results.flatten().filter(|(name, _)| is(name, "SequenceNumber"));
    numbers.filter_map(|(_, number)| number.as_text().map(str::to_owned)).collect()
}

fn read(body: &[u8], is_cbor: bool) -> Value {
    match is_cbor {
        true => ciborium::from_reader(body).expect("the stream writes CBOR"),
        false => serde_json::from_slice(body).expect("the stream writes JSON"),
    }
}

fn write(value: &Value, is_cbor: bool) -> Vec<u8> {
    if !is_cbor {
        return serde_json::to_vec(value).expect("it was JSON before");
    }
    let mut body = Vec::new();
    ciborium::into_writer(value, &mut body).expect("a vector takes everything");
    body
}
