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
use serde_json::json;
use tokio::runtime::{Builder, Runtime};
use tower::Service;

/// Entries of one request.
pub const ENTRIES: usize = 500;

/// What the request and its answer are written in, and by whom.
#[derive(Debug, Clone, Copy)]
pub enum Protocol {
    /// JSON, by the SDK's own serialiser.
    SdkJson,
    Json,
    Cbor,
}

/// All of them, by their names.
pub const PROTOCOLS: &[(&str, Protocol)] =
    &[("JSON by the SDK", Protocol::SdkJson), ("JSON", Protocol::Json), ("CBOR", Protocol::Cbor)];

impl Protocol {
    fn service(self, client: &Client) -> PutRecords {
        match self {
            Self::SdkJson => PutRecords::new(client).with_sdk_serialization(),
            Self::Json => PutRecords::new(client),
            Self::Cbor => PutRecords::new(client).with_cbor(),
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::SdkJson | Self::Json => "application/x-amz-json-1.1",
            Self::Cbor => "application/x-amz-cbor-1.1",
        }
    }

    fn answer(self) -> Bytes {
        let result = json!({
            "SequenceNumber": "49590338271490256608559692538361571095921575989136588898",
            "ShardId": "shardId-000000000000",
        });
        let answer = json!({ "FailedRecordCount": 0, "Records": vec![result; ENTRIES] });
        match self {
            Self::SdkJson | Self::Json => answer.to_string().into(),
            Self::Cbor => {
                let mut body = Vec::new();
                ciborium::into_writer(&answer, &mut body).expect("a vector takes everything");
                body.into()
            }
        }
    }
}

/// Answers every request with the same bytes.
#[derive(Debug, Clone)]
struct AtOnce {
    content_type: &'static str,
    answer: Bytes,
}

impl HttpConnector for AtOnce {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        assert!(request.body().bytes().is_some_and(|body| !body.is_empty()));
        let status = 200.try_into().expect("it is one");
        let mut response = HttpResponse::new(status, SdkBody::from(self.answer.clone()));
        response.headers_mut().insert("content-type", self.content_type);
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
    pub fn new(protocol: Protocol, data_bytes: usize) -> Self {
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
        let at_once = AtOnce { content_type: protocol.content_type(), answer: protocol.answer() };
        let connector = SharedHttpConnector::new(at_once);
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .credentials_provider(Credentials::for_tests())
            .http_client(http_client_fn(move |_, _| connector.clone()))
            .build();
        let service = protocol.service(&Client::from_conf(config));
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
