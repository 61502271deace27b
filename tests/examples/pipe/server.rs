//! A server that does what a test says with each entry, and notes what it took.

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

/// What is done with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Taken,
    /// Comes back with this code.
    Fails(&'static str),
    /// Its request is refused with this code.
    Refused(&'static str),
    /// Its request is never answered.
    Unanswered,
}

pub struct Entry {
    pub data: Vec<u8>,
    pub key: String,
}

type Decide = dyn Fn(&Entry) -> Fate + Send + Sync;

/// The server. Dropping it ends it.
pub struct Server {
    pub endpoint: String,
    state: Arc<Shared>,
    runtime: Option<Runtime>,
}

struct Shared {
    decide: Box<Decide>,
    keeps: bool,
    taken: Mutex<Vec<Entry>>,
    asked: Mutex<usize>,
}

impl Server {
    pub fn start(decide: impl Fn(&Entry) -> Fate + Send + Sync + 'static) -> Self {
        let (taken, asked) = (Mutex::default(), Mutex::default());
        Self::serve(Arc::new(Shared { decide: Box::new(decide), keeps: true, taken, asked }))
    }

    /// The same, without a note of what it took.
    pub fn that_keeps_nothing(decide: impl Fn(&Entry) -> Fate + Send + Sync + 'static) -> Self {
        let (taken, asked) = (Mutex::default(), Mutex::default());
        Self::serve(Arc::new(Shared { decide: Box::new(decide), keeps: false, taken, asked }))
    }

    fn serve(state: Arc<Shared>) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().fallback(answer).layer(DefaultBodyLimit::max(16 << 20));
        let app = app.with_state(state.clone());
        runtime.spawn(async move { axum::serve(listener, app).await });
        Self { endpoint, state, runtime: Some(runtime) }
    }

    /// One that takes everything.
    pub fn that_takes_all() -> Self {
        Self::start(|_| Fate::Taken)
    }

    /// The data of what it took, sorted: requests overtake each other.
    pub fn taken(&self) -> Vec<String> {
        let mut data: Vec<_> = self.with_keys().into_iter().map(|(_, data)| data).collect();
        data.sort_unstable();
        data
    }

    /// Key and data of what it took, in the order in which it came.
    pub fn with_keys(&self) -> Vec<(String, String)> {
        let text = |entry: &Entry| String::from_utf8(entry.data.clone()).unwrap();
        let taken = self.state.taken.lock().unwrap();
        taken.iter().map(|entry| (entry.key.clone(), text(entry))).collect()
    }

    /// Requests that came to put records.
    pub fn asked(&self) -> usize {
        *self.state.asked.lock().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.runtime.take().expect("it lives").shutdown_background();
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
}

async fn answer(
    State(state): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, String) {
    if headers["x-amz-target"] != "Kinesis_20131202.PutRecords" {
        // Whoever may write need not be allowed to describe the stream.
        return refusal("AccessDeniedException");
    }
    *state.asked.lock().unwrap() += 1;
    let put: Put = serde_json::from_slice(&body).unwrap();
    let entries: Vec<_> = put.records.into_iter().map(entry).collect();
    let fates: Vec<_> = entries.iter().map(|entry| (state.decide)(entry)).collect();
    for fate in &fates {
        match fate {
            Fate::Refused(code) => return refusal(code),
            Fate::Unanswered => std::future::pending().await,
            Fate::Taken | Fate::Fails(_) => {}
        }
    }
    let results: Vec<_> =
        entries.iter().zip(&fates).map(|(entry, fate)| result(entry, *fate)).collect();
    let failed = fates.iter().filter(|fate| **fate != Fate::Taken).count();
    if state.keeps {
        let took = entries.into_iter().zip(fates).filter(|(_, fate)| *fate == Fate::Taken);
        state.taken.lock().unwrap().extend(took.map(|(entry, _)| entry));
    }
    (StatusCode::OK, json!({ "FailedRecordCount": failed, "Records": results }).to_string())
}

fn entry(put: PutEntry<'_>) -> Entry {
    let data = STANDARD.decode_to_vec(put.data).unwrap();
    Entry { data, key: put.partition_key.into_owned() }
}

/// So many shards that their quotas do not slow anybody down.
fn shard(key: &str) -> String {
    format!("shardId-{:012}", hash_of(key).get() >> 118)
}

fn result(entry: &Entry, fate: Fate) -> Value {
    match fate {
        Fate::Fails(code) => json!({ "ErrorCode": code, "ErrorMessage": "as the test says" }),
        _ => json!({ "SequenceNumber": "1", "ShardId": shard(&entry.key) }),
    }
}

fn refusal(code: &str) -> (StatusCode, String) {
    let body = json!({ "__type": code, "message": "as the test says" });
    (StatusCode::BAD_REQUEST, body.to_string())
}
