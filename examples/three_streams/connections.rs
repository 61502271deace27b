//! Server middleware that records the streams to which each connection sends.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;

/// The streams of each client connection. All clones share this state.
#[derive(Debug, Clone, Default)]
pub struct Connections(Arc<Mutex<HashMap<SocketAddr, BTreeSet<String>>>>);

impl Connections {
    pub fn observe(&self, app: Router) -> Router {
        app.layer(from_fn_with_state(self.clone(), record))
    }

    pub fn streams(&self) -> Vec<BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

#[derive(serde::Deserialize)]
struct Target {
    #[serde(rename = "StreamName")]
    stream: String,
}

async fn record(
    State(connections): State<Connections>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Result<Response, StatusCode> {
    let action = request.headers().get("x-amz-target").and_then(|action| action.to_str().ok());
    if !action.is_some_and(|action| action.ends_with(".PutRecords")) {
        return Ok(next.run(request).await);
    }
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 16 << 20).await.map_err(|_| StatusCode::BAD_REQUEST)?;
    if let Ok(Target { stream }) = serde_json::from_slice(&body) {
        let mut peers = connections.0.lock().unwrap_or_else(PoisonError::into_inner);
        peers.entry(peer).or_default().insert(stream);
    }
    Ok(next.run(Request::from_parts(parts, Body::from(body))).await)
}
