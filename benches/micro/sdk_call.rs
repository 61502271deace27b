//! Sends one request through the SDK without a network. The SDK serializes and signs the request, and parses the
//! response.

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

pub const ENTRIES: usize = 500;

#[derive(Debug, Clone, Copy)]
pub enum Protocol {
    SdkJson,
    Json,
    Cbor,
}

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

    fn response(self) -> Bytes {
        let result = json!({
            "SequenceNumber": "49590338271490256608559692538361571095921575989136588898",
            "ShardId": "shardId-000000000000",
        });
        let response = json!({ "FailedRecordCount": 0, "Records": vec![result; ENTRIES] });
        match self {
            Self::SdkJson | Self::Json => response.to_string().into(),
            Self::Cbor => {
                let mut body = Vec::new();
                ciborium::into_writer(&response, &mut body)
                    .expect("writing to a Vec does not fail");
                body.into()
            }
        }
    }
}

#[derive(Debug, Clone)]
struct MockConnector {
    content_type: &'static str,
    body: Bytes,
}

impl HttpConnector for MockConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        assert!(request.body().bytes().is_some_and(|body| !body.is_empty()));
        let status = 200.try_into().expect("200 is a status code");
        let mut response = HttpResponse::new(status, SdkBody::from(self.body.clone()));
        response.headers_mut().insert("content-type", self.content_type);
        HttpConnectorFuture::ready(Ok(response))
    }
}

pub struct SdkCall {
    runtime: Runtime,
    service: PutRecords,
    request: PutRecordsRequest,
}

impl SdkCall {
    /// Creates a request whose entries have `data_bytes` bytes each.
    pub fn new(protocol: Protocol, data_bytes: usize) -> Self {
        let runtime =
            Builder::new_current_thread().enable_time().build().expect("failed to build a runtime");
        let (content_type, body) = (protocol.content_type(), protocol.response());
        let connector = SharedHttpConnector::new(MockConnector { content_type, body });
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
        let stream = "example".parse().expect("the name is valid");
        let request = PutRecordsRequest::new(stream, (0..ENTRIES).map(entry).collect::<Vec<_>>());
        let mut call = Self { runtime, service, request };
        // The first call fills the caches of the endpoint and of the credentials.
        call.send();
        call
    }

    pub fn send(&mut self) {
        let Self { runtime, service, request } = self;
        let response = runtime.block_on(service.call(request.clone())).expect("the call succeeds");
        assert_eq!(response.delivered(), ENTRIES);
    }
}
