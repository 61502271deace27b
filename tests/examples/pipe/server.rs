//! Kinesis server that records delivered entries. The test chooses the outcome of each entry.

use std::borrow::Cow;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use base64_simd::STANDARD;
use kinesis_sink::shard::hash_of;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryOutcome {
    Delivered,
    Failed(&'static str),
    RequestRefused(&'static str),
    NoResponse,
}

pub struct Entry {
    pub data: Vec<u8>,
    pub key: String,
    /// Explicit hash key, empty if there is none.
    pub hash_key: String,
}

type Decide = dyn Fn(&Entry) -> EntryOutcome + Send + Sync;

/// Running server, which stops on drop.
pub struct Server {
    pub endpoint: String,
    state: Arc<Shared>,
    runtime: Option<Runtime>,
}

struct Shared {
    decide: Box<Decide>,
    keeps_history: bool,
    delivered: Mutex<Vec<Entry>>,
    requests: Mutex<usize>,
}

impl Server {
    pub fn start(decide: impl Fn(&Entry) -> EntryOutcome + Send + Sync + 'static) -> Self {
        Self::serve(decide, true)
    }

    pub fn without_history(
        decide: impl Fn(&Entry) -> EntryOutcome + Send + Sync + 'static,
    ) -> Self {
        Self::serve(decide, false)
    }

    fn serve(
        decide: impl Fn(&Entry) -> EntryOutcome + Send + Sync + 'static,
        keeps_history: bool,
    ) -> Self {
        let state = Arc::new(Shared {
            decide: Box::new(decide),
            keeps_history,
            delivered: Mutex::default(),
            requests: Mutex::default(),
        });
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().fallback(respond).layer(DefaultBodyLimit::max(16 << 20));
        let app = app.with_state(state.clone());
        runtime.spawn(async move { axum::serve(listener, app).await });
        Self { endpoint, state, runtime: Some(runtime) }
    }

    pub fn accepting_all() -> Self {
        Self::start(|_| EntryOutcome::Delivered)
    }

    /// Returns the data of delivered entries. The result is sorted, because requests can arrive out of order.
    pub fn delivered(&self) -> Vec<String> {
        let mut data: Vec<_> =
            self.delivered_with_keys().into_iter().map(|(_, data)| data).collect();
        data.sort_unstable();
        data
    }

    pub fn delivered_with_keys(&self) -> Vec<(String, String)> {
        let text = |entry: &Entry| String::from_utf8(entry.data.clone()).unwrap();
        let delivered = self.state.delivered.lock().unwrap();
        delivered.iter().map(|entry| (entry.key.clone(), text(entry))).collect()
    }

    /// Calls `inspect` with the delivered entries, in the order of their delivery.
    pub fn with_delivered(&self, inspect: impl FnOnce(&[Entry])) {
        inspect(&self.state.delivered.lock().unwrap());
    }

    pub fn requests(&self) -> usize {
        *self.state.requests.lock().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.runtime.take().expect("the server is running").shutdown_background();
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Put<'a> {
    #[serde(borrow)]
    records: Vec<PutEntry<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutEntry<'a> {
    data: &'a str,
    #[serde(borrow)]
    partition_key: Cow<'a, str>,
    explicit_hash_key: Option<String>,
}

async fn respond(
    State(state): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, String) {
    if headers["x-amz-target"] != "Kinesis_20131202.PutRecords" {
        // Denies all other operations, because credentials might allow nothing but writes.
        return refusal("AccessDeniedException");
    }
    *state.requests.lock().unwrap() += 1;
    let put: Put = serde_json::from_slice(&body).unwrap();
    let entries: Vec<_> = put.records.into_iter().map(entry).collect();
    let outcomes: Vec<_> = entries.iter().map(|entry| (state.decide)(entry)).collect();
    for outcome in &outcomes {
        match outcome {
            EntryOutcome::RequestRefused(code) => return refusal(code),
            EntryOutcome::NoResponse => std::future::pending().await,
            EntryOutcome::Delivered | EntryOutcome::Failed(_) => {}
        }
    }
    let results: Vec<_> =
        entries.iter().zip(&outcomes).map(|(entry, outcome)| result(entry, *outcome)).collect();
    let failed = outcomes.iter().filter(|outcome| **outcome != EntryOutcome::Delivered).count();
    if state.keeps_history {
        let entries = entries.into_iter().zip(outcomes);
        let delivered = entries.filter(|(_, outcome)| *outcome == EntryOutcome::Delivered);
        state.delivered.lock().unwrap().extend(delivered.map(|(entry, _)| entry));
    }
    (StatusCode::OK, json!({ "FailedRecordCount": failed, "Records": results }).to_string())
}

fn entry(put: PutEntry<'_>) -> Entry {
    let data = STANDARD.decode_to_vec(put.data).unwrap();
    let hash_key = put.explicit_hash_key.unwrap_or_default();
    Entry { data, key: put.partition_key.into_owned(), hash_key }
}

/// Returns the ID of one of 1,024 shards. Together, their quotas do not limit the rate.
fn shard(key: &str) -> String {
    format!("shardId-{:012}", hash_of(key).get() >> 118)
}

fn result(entry: &Entry, outcome: EntryOutcome) -> Value {
    match outcome {
        EntryOutcome::Failed(code) => json!({ "ErrorCode": code, "ErrorMessage": "injected" }),
        _ => json!({ "SequenceNumber": "1", "ShardId": shard(&entry.key) }),
    }
}

fn refusal(code: &str) -> (StatusCode, String) {
    let body = json!({ "__type": code, "message": "injected" });
    (StatusCode::BAD_REQUEST, body.to_string())
}
