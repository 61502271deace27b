//! Server middleware that observes the requests of each stream and connection, and throttles one stream.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// Observed requests. All clones share this state.
#[derive(Debug, Clone, Default)]
pub struct Server(Arc<Mutex<Observed>>);

#[derive(Debug, Default)]
struct Observed {
    streams: BTreeMap<String, Requests>,
    connections: HashMap<SocketAddr, BTreeSet<String>>,
    throttle: Option<Throttle>,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Requests {
    pub count: u64,
    /// Number of throttled entries.
    pub throttled: u64,
}

/// Token bucket of a stream with one shard.
#[derive(Debug)]
struct Throttle {
    stream: String,
    /// Entries per second. The bucket holds the tokens of one second.
    rate: f64,
    tokens: f64,
    refilled_at: Instant,
}

impl Server {
    pub fn observe(&self, app: Router) -> Router {
        app.layer(from_fn_with_state(self.clone(), serve))
    }

    /// Limits a stream to `rate` entries per second. The server throttles all further entries.
    pub fn throttle(&self, stream: &str, rate: f64) {
        let stream = stream.to_owned();
        let throttle = Throttle { stream, rate, tokens: rate, refilled_at: Instant::now() };
        self.lock().throttle = Some(throttle);
    }

    pub fn end_throttle(&self) {
        self.lock().throttle = None;
    }

    pub fn requests(&self, stream: &str) -> Requests {
        self.lock().streams.get(stream).copied().unwrap_or_default()
    }

    /// Returns the streams to which each connection has sent.
    pub fn connections(&self) -> Vec<BTreeSet<String>> {
        self.lock().connections.values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Observed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observed {
    /// Notes a request, and returns the number of entries to which the stream has capacity.
    fn admit(&mut self, peer: SocketAddr, stream: &str, entries: usize) -> usize {
        let admitted = match &mut self.throttle {
            Some(throttle) if throttle.stream == stream => throttle.take(entries),
            _ => entries,
        };
        self.connections.entry(peer).or_default().insert(stream.to_owned());
        let requests = self.streams.entry(stream.to_owned()).or_default();
        requests.count += 1;
        requests.throttled += (entries - admitted) as u64;
        admitted
    }
}

impl Throttle {
    fn take(&mut self, entries: usize) -> usize {
        let refill = self.refilled_at.elapsed().as_secs_f64() * self.rate;
        self.refilled_at = Instant::now();
        self.tokens = (self.tokens + refill).min(self.rate);
        let taken = entries.min(self.tokens as usize);
        self.tokens -= taken as f64;
        taken
    }
}

async fn serve(
    State(server): State<Server>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Result<Response, StatusCode> {
    let action = request.headers().get("x-amz-target").and_then(|action| action.to_str().ok());
    if !action.is_some_and(|action| action.ends_with(".PutRecords")) {
        return Ok(next.run(request).await);
    }
    let (mut parts, body) = request.into_parts();
    let (body, mut json) = read(body).await?;
    let stream = json["StreamName"].as_str().unwrap_or_default().to_owned();
    let Some(entries) = json["Records"].as_array_mut() else { return Err(StatusCode::BAD_REQUEST) };
    let count = entries.len();
    let admitted = server.lock().admit(peer, &stream, count);
    if admitted == count {
        return Ok(next.run(Request::from_parts(parts, Body::from(body))).await);
    }
    let (mut headers, mut response) =
        (HeaderMap::new(), json!({ "FailedRecordCount": 0, "Records": [] }));
    if admitted > 0 {
        entries.truncate(admitted);
        parts.headers.remove(CONTENT_LENGTH);
        let admitted = Request::from_parts(parts, Body::from(json.to_string()));
        let (parts, body) = next.run(admitted).await.into_parts();
        (headers, response) = (parts.headers, read(body).await?.1);
        headers.remove(CONTENT_LENGTH);
    }
    let throttled = json!({
        "ErrorCode": "ProvisionedThroughputExceededException",
        "ErrorMessage": "Rate exceeded for shard shardId-000000000000",
    });
    let failed = response["FailedRecordCount"].as_u64().unwrap_or_default();
    response["FailedRecordCount"] = (failed + (count - admitted) as u64).into();
    if let Some(results) = response["Records"].as_array_mut() {
        results.resize(count, throttled);
    }
    Ok((headers, response.to_string()).into_response())
}

async fn read(body: Body) -> Result<(Bytes, Value), StatusCode> {
    let body = to_bytes(body, 16 << 20).await.map_err(|_| StatusCode::BAD_REQUEST)?;
    let json = serde_json::from_slice(&body).map_err(|_| StatusCode::BAD_REQUEST)?;
    Ok((body, json))
}
