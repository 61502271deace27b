//! What is compared.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// One way of bringing records to the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Case {
    /// The yardstick: the SDK called by hand with full requests
    Raw,
    /// The same in CBOR, by the SDK's serialiser
    RawCbor,
    /// The sink over `PutRecords`, with the SDK's serialiser
    SinkSdk,
    /// The sink, fed by `forward`, over `PutRecords`
    Sink,
    /// The sink on one thread, its requests on another
    SinkThreads,
    /// The stack that `SinkBuilder::build` makes: trace, metrics and time-out above that
    SinkLayers,
    /// The order of each key is kept
    SinkOrdered,
    /// The sink in CBOR
    SinkCbor,
    /// Aggregates per shard
    SinkAggregated,
    /// Aggregates per shard, in CBOR
    SinkAggregatedCbor,
    /// A producer without receipts
    Producer,
    /// A producer with a receipt for each record, and all of them awaited
    ProducerReceipts,
    /// The sink, for 20 million records: see `--soak`
    #[value(skip)]
    SinkSoak,
}

/// How a sink's requests are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    Sdk,
    Direct,
    Cbor,
}

impl Case {
    /// Those that are compared, in the order in which they are run and printed.
    pub const COMPARED: &[Self] = &[
        Self::Raw,
        Self::RawCbor,
        Self::SinkSdk,
        Self::Sink,
        Self::SinkThreads,
        Self::SinkLayers,
        Self::SinkOrdered,
        Self::SinkCbor,
        Self::SinkAggregated,
        Self::SinkAggregatedCbor,
        Self::Producer,
        Self::ProducerReceipts,
    ];

    /// Those that a round-trip time tells something new about.
    pub const WITH_ROUND_TRIP: &[Self] =
        &[Self::Raw, Self::Sink, Self::SinkCbor, Self::SinkAggregated, Self::ProducerReceipts];

    pub fn on_two_threads(self) -> bool {
        self == Self::SinkThreads
    }

    pub fn aggregates(self) -> bool {
        matches!(self, Self::SinkAggregated | Self::SinkAggregatedCbor)
    }

    pub fn body(self) -> Body {
        match self {
            Self::SinkSdk => Body::Sdk,
            Self::SinkCbor | Self::SinkAggregatedCbor => Body::Cbor,
            _ => Body::Direct,
        }
    }

    /// As in `throughput.json` and on the command line.
    pub fn name(self) -> String {
        let value = serde_json::to_value(self).expect("a name is valid JSON");
        value.as_str().unwrap_or_default().to_owned()
    }
}
