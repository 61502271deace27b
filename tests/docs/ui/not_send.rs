//! The future of a service must be `Send`.

use std::task::{Context, Poll};

use futures::future::LocalBoxFuture;
use kinesis_sink::KinesisSink;
use kinesis_sink::service::{PutRecordsRequest, PutRecordsResponse, PutRecordsService};
use tower::layer::layer_fn;
use tower::{BoxError, Service};

#[derive(Clone)]
struct Local<S>(S);

impl<S: PutRecordsService> Service<PutRecordsRequest> for Local<S> {
    type Response = PutRecordsResponse;
    type Error = BoxError;
    type Future = LocalBoxFuture<'static, Result<PutRecordsResponse, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: PutRecordsRequest) -> Self::Future {
        let response = self.0.call(request);
        Box::pin(async move { response.await.map_err(Into::into) })
    }
}

pub fn sink(client: aws_sdk_kinesis::Client) {
    let _ = KinesisSink::builder("example").build_with_layer(&client, layer_fn(Local));
}
