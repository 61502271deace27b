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
use super::operation::operate;
use crate::service::PutRecordsError;
use crate::sim::SimStream;

/// What the SDK takes for its HTTP client.
#[derive(Debug, Clone)]
pub(super) struct SimHttp {
    stream: SimStream,
    read_timeout: Option<Duration>,
}

impl SimHttp {
    pub(super) fn new(stream: SimStream) -> Self {
        Self { stream, read_timeout: None }
    }
}

impl HttpClient for SimHttp {
    /// There is nothing to connect to, so only the timeout for the answer counts.
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
        let answer = exchange(&self.stream, &request);
        match self.read_timeout {
            None => HttpConnectorFuture::new(answer.map(Ok)),
            Some(limit) => HttpConnectorFuture::new(async move {
                let answer = timeout(limit, answer).await;
                answer.map_err(|passed| ConnectorError::timeout(passed.into()))
            }),
        }
    }
}

const TARGET_PREFIX: &str = "Kinesis_20131202.";

/// Reads the request now, so that it is sent in the order of the calls, and answers it when it is time.
fn exchange(stream: &SimStream, request: &HttpRequest) -> BoxFuture<'static, HttpResponse> {
    let header = |name| request.headers().get(name).unwrap_or_default();
    let known = Format::of(header("content-type"));
    let format = known.unwrap_or(Format::Json);
    let operation = header("x-amz-target").strip_prefix(TARGET_PREFIX).filter(|_| known.is_some());
    // The SDK holds the whole body of each of these requests in memory.
    let body = request.body().bytes().unwrap_or_default();
    let answer = operate(stream, format, operation.unwrap_or_default(), body);
    let stream = stream.clone();
    answer.map(move |answer| response(format, stream.lock().next_answer(), answer)).boxed()
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    #[serde(rename = "__type")]
    code: &'a str,
    message: &'a str,
}

fn response(format: Format, number: u64, answer: Result<Vec<u8>, PutRecordsError>) -> HttpResponse {
    let (status, body) = match answer {
        Ok(body) => (200, body),
        // An answer without a code comes from a proxy or firewall, so its body is empty.
        Err(error) if error.code().is_none() => (error.status().unwrap_or(500), Vec::new()),
        Err(error) => {
            let code = error.code().unwrap_or_default();
            let body = ErrorBody { code, message: error.message().unwrap_or_default() };
            (error.status().unwrap_or(500), format.write(&body))
        }
    };
    let status = StatusCode::try_from(status).expect("a fault's status is one of HTTP's");
    let mut response = HttpResponse::new(status, body.into());
    response.headers_mut().insert("content-type", format.content_type());
    response.headers_mut().insert("x-amzn-requestid", format!("sim-{number}"));
    response
}
