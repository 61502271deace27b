//! The error of a service must convert into `BoxError`.

use std::task::{Context, Poll};

use futures::future::BoxFuture;
use kinesis_sink::KinesisSink;
use kinesis_sink::service::{PutRecordsRequest, PutRecordsResponse, PutRecordsService};
use tower::Service;
use tower::layer::layer_fn;

#[derive(Debug)]
pub struct Refused;

#[derive(Clone)]
struct Refusing<S>(S);

impl<S: PutRecordsService> Service<PutRecordsRequest> for Refusing<S> {
    type Response = PutRecordsResponse;
    type Error = Refused;
    type Future = BoxFuture<'static, Result<PutRecordsResponse, Refused>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Refused>> {
        self.0.poll_ready(cx).map_err(|_| Refused)
    }

    fn call(&mut self, request: PutRecordsRequest) -> Self::Future {
        let response = self.0.call(request);
        Box::pin(async move { response.await.map_err(|_| Refused) })
    }
}

pub fn sink(client: aws_sdk_kinesis::Client) {
    let _ = KinesisSink::builder("example").build_with_layer(&client, layer_fn(Refusing));
}
