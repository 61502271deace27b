//! One request through the SDK and back: built, written, signed, and its answer read, with no network.

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::http::{HttpRequest, HttpResponse};
use aws_sdk_kinesis::config::{BehaviorVersion, Config, Credentials, Region};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use kinesis_sink::service::{Entry, PutRecords, PutRecordsRequest};
use tokio::runtime::{Builder, Runtime};
use tower::Service;

/// Entries of one request.
pub const ENTRIES: usize = 500;

/// Answers every request with the same bytes.
#[derive(Debug, Clone)]
struct AtOnce {
    answer: Bytes,
}

impl HttpConnector for AtOnce {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        assert!(request.body().bytes().is_some_and(|body| !body.is_empty()));
        let status = 200.try_into().expect("it is one");
        let mut response = HttpResponse::new(status, SdkBody::from(self.answer.clone()));
        response.headers_mut().insert("content-type", "application/x-amz-json-1.1");
        HttpConnectorFuture::ready(Ok(response))
    }
}

/// The service over the SDK, and a request for it.
pub struct SdkCall {
    runtime: Runtime,
    service: PutRecords,
    request: PutRecordsRequest,
}

impl SdkCall {
    /// With entries of so many bytes.
    pub fn new(data_bytes: usize) -> Self {
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
        let connector = SharedHttpConnector::new(AtOnce { answer: answer() });
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .credentials_provider(Credentials::for_tests())
            .http_client(http_client_fn(move |_, _| connector.clone()))
            .build();
        let service = PutRecords::new(&Client::from_conf(config));
        let entry = |number: usize| {
            let key = format!("device-{number:04}").into();
            Entry::new(vec![b'.'; data_bytes].into(), Some(key), None)
        };
        let stream = "example".parse().expect("it is valid");
        let request = PutRecordsRequest::new(stream, (0..ENTRIES).map(entry).collect::<Vec<_>>());
        let mut call = Self { runtime, service, request };
        // Endpoint and credentials are cached from the first call on.
        call.send();
        call
    }

    /// Makes the call.
    pub fn send(&mut self) {
        let Self { runtime, service, request } = self;
        let response = runtime.block_on(service.call(request.clone())).expect("it is answered");
        assert_eq!(response.delivered(), ENTRIES);
    }
}

fn answer() -> Bytes {
    let result = r#"{"SequenceNumber":"49590338271490256608559692538361571095921575989136588898","ShardId":"shardId-000000000000"}"#;
    let results = vec![result; ENTRIES].join(",");
    format!(r#"{{"FailedRecordCount":0,"Records":[{results}]}}"#).into()
}
