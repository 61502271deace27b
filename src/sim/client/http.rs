use std::time::Duration;

use aws_sdk_kinesis::config::RuntimeComponents;
use aws_sdk_kinesis::config::http::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::http::StatusCode;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::Serialize;
use tokio::time::timeout;

use super::codec::Format;
use super::operation::{addressed_stream, dispatch};
use crate::service::PutRecordsError;
use crate::sim::region::Target;

#[derive(Debug, Clone)]
pub(super) struct SimHttp {
    target: Target,
    read_timeout: Option<Duration>,
}

impl SimHttp {
    pub(super) fn new(target: Target) -> Self {
        Self { target, read_timeout: None }
    }
}

impl HttpClient for SimHttp {
    /// Returns a connector that applies only the read timeout, because there is no connection.
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(Self { read_timeout: settings.read_timeout(), ..self.clone() })
    }
}

impl HttpConnector for SimHttp {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let response = exchange(&self.target, &request);
        match self.read_timeout {
            None => HttpConnectorFuture::new(response.map(Ok)),
            Some(limit) => HttpConnectorFuture::new(async move {
                let response = timeout(limit, response).await;
                response.map_err(|elapsed| ConnectorError::timeout(elapsed.into()))
            }),
        }
    }
}

const TARGET_PREFIX: &str = "Kinesis_20131202.";

/// Parses and sends the request before the future is polled, so that requests are sent in the order of the calls.
fn exchange(target: &Target, request: &HttpRequest) -> BoxFuture<'static, HttpResponse> {
    let header = |name| request.headers().get(name).unwrap_or_default();
    let known = Format::of(header("content-type"));
    let format = known.unwrap_or(Format::Json);
    let operation = header("x-amz-target").strip_prefix(TARGET_PREFIX).filter(|_| known.is_some());
    // The operations of the SDK client never stream the request body, so it is in memory.
    let body = request.body().bytes().unwrap_or_default();
    let stream = target.find(|| addressed_stream(format, body));
    let output = dispatch(&stream, format, operation.unwrap_or_default(), body);
    output.map(move |output| response(format, stream.lock().next_response(), output)).boxed()
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    #[serde(rename = "__type")]
    code: &'a str,
    message: &'a str,
}

fn response(format: Format, number: u64, output: Result<Vec<u8>, PutRecordsError>) -> HttpResponse {
    let (status, body) = match output {
        Ok(body) => (200, body),
        // An error without a code simulates the response of a proxy or firewall, which has no body.
        Err(error) if error.code().is_none() => (error.status().unwrap_or(500), Vec::new()),
        Err(error) => {
            let code = error.code().unwrap_or_default();
            let body = ErrorBody { code, message: error.message().unwrap_or_default() };
            (error.status().unwrap_or(500), format.write(&body))
        }
    };
    let status = StatusCode::try_from(status).expect("the status was validated");
    let mut response = HttpResponse::new(status, body.into());
    response.headers_mut().insert("content-type", format.content_type());
    response.headers_mut().insert("x-amzn-requestid", format!("sim-{number}"));
    response
}
