//! HTTP client for the SDK that records requests and returns a configured response.

use std::sync::{Arc, Mutex};

use aws_runtime::invocation_id::NoInvocationIdGenerator;
use aws_sdk_kinesis::config::http::{HttpRequest, HttpResponse};
use aws_sdk_kinesis::config::{Builder, Config};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_types::body::SdkBody;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    pub method: String,
    pub uri: String,
    /// Headers, sorted by name.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Sent {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("content-type", content_type.to_owned())];
        Self { status, headers, body: body.into() }
    }
}

/// Connector that records requests and returns the same response to each of them.
#[derive(Debug, Clone)]
pub struct Wire {
    answer: Arc<Mutex<Answer>>,
    sent: Arc<Mutex<Vec<Sent>>>,
}

impl Wire {
    pub fn new(answer: Answer) -> Self {
        Self { answer: Arc::new(Mutex::new(answer)), sent: Arc::default() }
    }

    pub fn answer_with(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    /// Returns the requests sent since the last call of this function.
    pub fn take(&self) -> Vec<Sent> {
        std::mem::take(&mut self.sent.lock().unwrap())
    }

    /// Equal requests have equal signatures, because the clock is fixed and requests have no invocation ID.
    pub fn config(&self) -> Builder {
        let wire = self.clone();
        Config::builder()
            .with_test_defaults_v2()
            .invocation_id_generator(NoInvocationIdGenerator::new())
            .http_client(http_client_fn(move |_, _| SharedHttpConnector::new(wire.clone())))
    }
}

impl HttpConnector for Wire {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let header = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let mut headers: Vec<_> = request.headers().iter().map(header).collect();
        headers.sort();
        let body = request.body().bytes().expect("the body is in memory").to_vec();
        let method = request.method().to_owned();
        let uri = request.uri().to_owned();
        self.sent.lock().unwrap().push(Sent { method, uri, headers, body });
        let Answer { status, headers, body } = self.answer.lock().unwrap().clone();
        let mut response = HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body));
        for (name, value) in headers {
            response.headers_mut().insert(name, value);
        }
        HttpConnectorFuture::ready(Ok(response))
    }
}
