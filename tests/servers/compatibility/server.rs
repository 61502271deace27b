//! Starts the servers under test. Each has a client that uses JSON or CBOR.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_config::{BehaviorVersion, Region};
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::{Credentials, StalledStreamProtectionConfig};
use kinesis_sink::limits::Limits;
use kinesis_sink::{KinesisSink, SinkBuilder};

use super::features::{Feature, unsupported_reason};
use super::node::{KINESALITE, KINESIS_LOCAL, notice};
use super::node_buffers::ReadNodeBuffers;
use super::stream::Stream;
use crate::support::embedded::Embedded;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerKind {
    /// ferrokinesis, in this process.
    Embedded,
    KinesisLocal,
    Kinesalite,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Json,
    Cbor,
}

impl Protocol {
    pub fn is_cbor(self) -> bool {
        self != Self::Json
    }
}

pub struct Server {
    endpoint: String,
    limits: Limits,
    json: Client,
    client: Client,
    reader: Client,
    _embedded: Option<Embedded>,
}

impl Server {
    /// Prints a notice and returns `None` if the server is not installed or does not support a needed feature.
    pub async fn start(kind: ServerKind, protocol: Protocol, needs: &[Feature]) -> Option<Self> {
        let unsupported =
            needs.iter().find_map(|need| Some((need, unsupported_reason(kind, protocol, *need)?)));
        if let Some((feature, reason)) = unsupported {
            notice(&format!(
                "not run: {kind:?} in {protocol:?} does not support {feature:?}: {reason}"
            ));
            return None;
        }
        let embedded = match kind {
            ServerKind::Embedded => {
                Some(Embedded::start(1, false).await.expect("the server starts"))
            }
            ServerKind::KinesisLocal | ServerKind::Kinesalite => None,
        };
        let endpoint = match kind {
            ServerKind::Embedded => embedded.as_ref().map(Embedded::endpoint),
            ServerKind::KinesisLocal => KINESIS_LOCAL.endpoint(),
            ServerKind::Kinesalite => KINESALITE.endpoint(),
        };
        let endpoint = endpoint?.to_owned();
        let json = json_client(&endpoint).await;
        let client = with_protocol(protocol, &json);
        // Records are read with another client, because kinesalite stops reading from a connection after a 413.
        let json_reader = json_client(&endpoint).await;
        let reader = match unsupported_reason(kind, protocol, Feature::BinaryData) {
            None => with_protocol(protocol, &json_reader),
            Some(_) => ReadNodeBuffers::client(&json_reader),
        };
        let limits = match unsupported_reason(kind, protocol, Feature::LongResponses) {
            None => Limits::default(),
            Some(_) => Limits::default().with_request_entries(100),
        };
        Some(Self { endpoint, limits, json, client, reader, _embedded: embedded })
    }

    /// Returns a client that uses the tested protocol.
    pub fn client(&self) -> &Client {
        &self.client
    }

    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    pub fn json(&self) -> &Client {
        &self.json
    }

    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Returns a builder with the limits of the server and a timeout for slow servers.
    pub fn builder(&self, stream: &str) -> SinkBuilder {
        KinesisSink::builder(stream).configure(|settings| {
            settings.limits = self.limits;
            settings.request_timeout = Duration::from_secs(60);
        })
    }

    pub async fn stream(&self, shards: i32) -> Stream {
        static STREAMS: AtomicUsize = AtomicUsize::new(0);
        let name = format!("stream-{}", STREAMS.fetch_add(1, Ordering::Relaxed));
        Stream::create(&self.client, &self.reader, name, shards).await
    }
}

async fn json_client(endpoint: &str) -> Client {
    let config = aws_config::defaults(BehaviorVersion::latest())
        .endpoint_url(endpoint)
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "test"))
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    Client::new(&config.load().await)
}

fn with_protocol(protocol: Protocol, json: &Client) -> Client {
    match protocol {
        Protocol::Json => json.clone(),
        Protocol::Cbor => {
            let protocol = kinesis_sink::service::KinesisCbor::new();
            Client::from_conf(json.config().to_builder().protocol(protocol).build())
        }
    }
}
