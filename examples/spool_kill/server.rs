//! The embedded server, which fails and delays requests and notes each record that it writes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::types::ShardIteratorType;
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use base64_simd::STANDARD;
use fastrand::Rng;
use kinesis_sink::aggregate::deaggregate;
use serde::Deserialize;

use crate::account::{Account, Life};
use crate::embedded::{Embedded, STREAM};
use crate::record;

const MAX_BODY_BYTES: usize = 16 << 20;
/// Prefix of the access key ID by which the server recognizes the child that sent a request.
pub const LIFE_PREFIX: &str = "LIFE";

/// An account that the server and the supervisor share.
#[derive(Clone, Default)]
pub struct SharedAccount(Arc<Mutex<Account>>);

impl SharedAccount {
    pub fn with<T>(&self, work: impl FnOnce(&mut Account) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

pub async fn start(shards: i32, seed: u64, account: SharedAccount) -> anyhow::Result<Embedded> {
    let rng = Arc::new(Mutex::new(Rng::with_seed(seed)));
    Embedded::start_in(shards, true, |app| observe(app, rng, account)).await
}

#[derive(Clone, Copy)]
struct Fault {
    fails: bool,
    before: Duration,
    after: Duration,
}

impl Fault {
    fn draw(rng: &Mutex<Rng>) -> Self {
        let mut rng = rng.lock().unwrap_or_else(PoisonError::into_inner);
        let fails = rng.u32(..50) == 0;
        let mut delay = || Duration::from_millis(if rng.bool() { rng.u64(..30) } else { 0 });
        Self { fails, before: delay(), after: delay() }
    }
}

fn observe(app: Router, rng: Arc<Mutex<Rng>>, account: SharedAccount) -> Router {
    app.layer(from_fn(move |request: Request, next: Next| {
        let (rng, account) = (rng.clone(), account.clone());
        async move {
            let target = request.headers().get("x-amz-target").map(|value| value.as_bytes());
            let Some(life) = life(request.headers()) else { return next.run(request).await };
            if target != Some(b"Kinesis_20131202.PutRecords") {
                return next.run(request).await;
            }
            let fault = Fault::draw(&rng);
            tokio::time::sleep(fault.before).await;
            if fault.fails {
                let body = r#"{"__type":"InternalFailure","message":"injected"}"#;
                return (StatusCode::INTERNAL_SERVER_ERROR, body).into_response();
            }
            // A task, because the server would otherwise stop to process the request when its sender is killed, and
            // it would be unknown what it has written.
            let put = tokio::spawn(put(request, next, life, fault.after, account));
            put.await.unwrap_or_else(|_| StatusCode::BAD_GATEWAY.into_response())
        }
    }))
}

/// Returns the child that signed a request, or `None` for requests of this process.
fn life(headers: &HeaderMap) -> Option<Life> {
    let authorization = headers.get("authorization")?.to_str().ok()?;
    let rest = authorization.split_once("Credential=")?.1.strip_prefix(LIFE_PREFIX)?;
    rest.split_once('/')?.0.parse().ok()
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Put {
    records: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    data: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Results {
    records: Vec<Outcome>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Outcome {
    error_code: Option<String>,
}

/// Processes a request, and notes the written records when the response is sent.
async fn put(
    request: Request,
    next: Next,
    life: Life,
    delay: Duration,
    account: SharedAccount,
) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_BODY_BYTES).await else {
        return StatusCode::BAD_REQUEST.into_response(); // The sender was killed.
    };
    let request = Request::from_parts(parts, Body::from(body.clone()));
    let (parts, response) = next.run(request).await.into_parts();
    let response = to_bytes(response, MAX_BODY_BYTES).await.unwrap_or_default();
    tokio::time::sleep(delay).await;
    if parts.status == StatusCode::OK {
        let numbers = written(&body, &response).expect("request and response are valid");
        account.with(|account| {
            let now = Some(Instant::now());
            for number in numbers {
                account.written(number, life, now);
            }
        });
    }
    Response::from_parts(parts, Body::from(response))
}

/// Returns the numbers of the written records.
fn written(request: &Bytes, response: &Bytes) -> Option<Vec<u64>> {
    let put: Put = serde_json::from_slice(request).ok()?;
    let results: Results = serde_json::from_slice(response).ok()?;
    let mut numbers = Vec::new();
    for (entry, result) in put.records.iter().zip(&results.records) {
        if result.error_code.is_none() {
            let data = Bytes::from(STANDARD.decode_to_vec(entry.data.as_bytes()).ok()?);
            numbers.extend(deaggregate(&data).filter_map(|member| record::number(member.data())));
        }
    }
    Some(numbers)
}

/// Reads all records of the stream. No record may be written meanwhile.
pub async fn read_back(
    client: &Client,
    ordered: bool,
    account: &SharedAccount,
) -> anyhow::Result<()> {
    let listed = client.list_shards().stream_name(STREAM).send().await?;
    for shard in listed.shards.unwrap_or_default() {
        let call = client.get_shard_iterator().stream_name(STREAM).shard_id(shard.shard_id);
        let call = call.shard_iterator_type(ShardIteratorType::TrimHorizon);
        let mut iterator = call.send().await?.shard_iterator;
        while let Some(from) = iterator {
            let answer = client.get_records().shard_iterator(from).send().await?;
            if answer.records.is_empty() && answer.millis_behind_latest.unwrap_or(0) == 0 {
                break;
            }
            account.with(|account| {
                for found in &answer.records {
                    let number = record::number(found.data.as_ref());
                    let key = number.and_then(|number| record::key(number, ordered));
                    let matches = key.is_none() || key == found.partition_key;
                    account.found(number, matches, key.as_deref().filter(|_| ordered));
                }
            });
            iterator = answer.next_shard_iterator;
        }
    }
    Ok(())
}
