//! The servers, each with a client in one of the two protocols.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_config::{BehaviorVersion, Region};
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::{Credentials, StalledStreamProtectionConfig};
use kinesis_sink::limits::Limits;
use kinesis_sink::{KinesisSink, SinkBuilder};

use super::features::{Feature, reason};
use super::node::{KINESALITE, KINESIS_LOCAL, notice};
use super::node_buffers::ReadNodeBuffers;
use super::stream::Stream;
use crate::support::embedded::Embedded;

/// Who made the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Make {
    /// ferrokinesis 0.7, in this process.
    Embedded,
    /// kinesis-local 0.6.2.
    KinesisLocal,
    /// kinesalite 3.3.3.
    Kinesalite,
}

/// What the client speaks.
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

/// A server that can do what is asked of it.
pub struct Server {
    endpoint: String,
    limits: Limits,
    json: Client,
    /// In the protocol that is being tried.
    client: Client,
    /// For what was written with it.
    reader: Client,
    /// Ends with this.
    _embedded: Option<Embedded>,
}

impl Server {
    /// `None`, and a notice, if the server is not installed or lacks one of these features.
    pub async fn start(make: Make, protocol: Protocol, needs: &[Feature]) -> Option<Self> {
        let lacking = needs.iter().find_map(|need| Some((need, reason(make, protocol, *need)?)));
        if let Some((feature, reason)) = lacking {
            notice(&format!("not asked of {make:?} in {protocol:?}: {feature:?}, {reason}"));
            return None;
        }
        let embedded = match make {
            Make::Embedded => Some(Embedded::start(1, false).await.expect("it starts")),
            Make::KinesisLocal | Make::Kinesalite => None,
        };
        let endpoint = match make {
            Make::Embedded => embedded.as_ref().map(Embedded::endpoint),
            Make::KinesisLocal => KINESIS_LOCAL.endpoint(),
            Make::Kinesalite => KINESALITE.endpoint(),
        };
        let endpoint = endpoint?.to_owned();
        let json = json_client(&endpoint).await;
        let client = speaking(protocol, &json);
        // With connections of its own: kinesalite reads no more on one on which it answered 413.
        let json_reader = json_client(&endpoint).await;
        let reader = match reason(make, protocol, Feature::KeepData) {
            None => speaking(protocol, &json_reader),
            Some(_) => ReadNodeBuffers::in_answers_to(&json_reader),
        };
        let limits = match reason(make, protocol, Feature::LongAnswers) {
            None => Limits::default(),
            Some(_) => Limits::default().with_request_entries(100),
        };
        Some(Self { endpoint, limits, json, client, reader, _embedded: embedded })
    }

    /// A client in the protocol that is being tried.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Where it listens.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// A client in JSON.
    pub fn json(&self) -> &Client {
        &self.json
    }

    /// What it takes.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// A sink within these limits, with patience for a server of one or two requests a second.
    pub fn builder(&self, stream: &str) -> SinkBuilder {
        KinesisSink::builder(stream).configure(|settings| {
            settings.limits = self.limits;
            settings.request_timeout = Duration::from_secs(60);
        })
    }

    /// A new stream.
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

fn speaking(protocol: Protocol, json: &Client) -> Client {
    match protocol {
        Protocol::Json => json.clone(),
        Protocol::Cbor => {
            let protocol = kinesis_sink::service::KinesisCbor::new();
            Client::from_conf(json.config().to_builder().protocol(protocol).build())
        }
    }
}
