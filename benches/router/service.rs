//! A replacement for Kinesis in this process. It delivers every entry after a round trip on virtual time, and its
//! cost does not depend on the number of streams.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use kinesis_sink::service::{Placement, PutRecordsRequest, PutRecordsResponse};
use tokio::time::sleep;
use tower::{BoxError, Service};

pub const ROUND_TRIP: Duration = Duration::from_millis(20);
/// A sequence number with the length of real ones.
const SEQUENCE_NUMBER: &str = "49590338271490256608559692538361571095921575989136588898";
const SHARD_ID: &str = "shardId-000000000000";

#[derive(Clone, Default)]
pub struct MockService(Arc<Counter>);

#[derive(Default)]
struct Counter {
    requests: AtomicU64,
    entries: AtomicU64,
}

impl MockService {
    pub fn requests(&self) -> u64 {
        self.0.requests.load(Relaxed)
    }

    pub fn entries(&self) -> u64 {
        self.0.entries.load(Relaxed)
    }
}

impl Service<PutRecordsRequest> for MockService {
    type Response = PutRecordsResponse;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<PutRecordsResponse, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: PutRecordsRequest) -> Self::Future {
        self.0.requests.fetch_add(1, Relaxed);
        self.0.entries.fetch_add(request.entries().len() as u64, Relaxed);
        Box::pin(async move {
            sleep(ROUND_TRIP).await;
            let placement = |_| Ok(Placement::new(SHARD_ID, SEQUENCE_NUMBER));
            Ok(PutRecordsResponse::new(request.entries().iter().map(placement).collect()))
        })
    }
}
