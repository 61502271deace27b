//! What is compared.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// One way of bringing records to the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Case {
    /// The yardstick: the SDK called by hand with full requests.
    Raw,
    /// The sink, fed by `forward`, over `PutRecords`.
    Sink,
    /// The stack that `SinkBuilder::build` makes: trace, metrics and time-out above that.
    SinkLayers,
    /// The order of each key is kept.
    SinkOrdered,
    /// Aggregates per shard.
    SinkAggregated,
    /// A producer without receipts.
    Producer,
    /// A producer with a receipt for each record, and all of them awaited.
    ProducerReceipts,
    /// No measurement of its own: the sink for 20 million records.
    SinkSoak,
}

impl Case {
    /// Those that are compared, in the order in which they are run and printed.
    pub const COMPARED: &[Self] = &[
        Self::Raw,
        Self::Sink,
        Self::SinkLayers,
        Self::SinkOrdered,
        Self::SinkAggregated,
        Self::Producer,
        Self::ProducerReceipts,
    ];

    /// Those that a round-trip time tells something new about.
    pub const WITH_ROUND_TRIP: &[Self] =
        &[Self::Raw, Self::Sink, Self::SinkAggregated, Self::ProducerReceipts];

    pub fn aggregates(self) -> bool {
        matches!(self, Self::SinkAggregated)
    }

    pub fn name(self) -> String {
        let value = self.to_possible_value().expect("no case is hidden");
        value.get_name().to_owned()
    }
}
