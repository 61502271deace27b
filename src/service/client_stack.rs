use std::sync::Arc;
use std::task::{Context, Poll};

use tower::{BoxError, Layer, Service, ServiceBuilder};

use super::{PutRecords, PutRecordsRequest, PutRecordsResponse, SharedClient};
#[cfg(feature = "metrics")]
use crate::metrics::Metrics;
use crate::service_ext::ServiceBuilderExt;
use crate::settings::Settings;
use crate::timeout::{Timeout, TimeoutLayer};
use crate::trace::Trace;

#[cfg(feature = "metrics")]
type Stack = Trace<Metrics<Timeout<PutRecords>>>;
#[cfg(not(feature = "metrics"))]
type Stack = Trace<Timeout<PutRecords>>;

/// Layers for tracing, metrics and timeouts around the SDK call.
///
/// The layers, which are always ready, are created for each request. A stream of a router therefore needs only two
/// pointers for its service.
#[derive(Clone)]
pub(crate) struct ClientStack {
    client: Arc<SharedClient>,
    settings: Arc<Settings>,
}

impl ClientStack {
    pub(crate) fn new(client: Arc<SharedClient>, settings: Arc<Settings>) -> Self {
        Self { client, settings }
    }

    fn layers(&self) -> Stack {
        let Settings { request_timeout, max_request_timeout, .. } = *self.settings;
        let timeout = TimeoutLayer::new(request_timeout).with_max(max_request_timeout);
        let stack = ServiceBuilder::new().trace_put_records();
        #[cfg(feature = "metrics")]
        let stack = stack.metrics_put_records();
        stack.service(timeout.layer(self.client.put_records().clone()))
    }
}

impl Service<PutRecordsRequest> for ClientStack {
    type Response = PutRecordsResponse;
    type Error = BoxError;
    type Future = <Stack as Service<PutRecordsRequest>>::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: PutRecordsRequest) -> Self::Future {
        self.layers().call(request)
    }
}
