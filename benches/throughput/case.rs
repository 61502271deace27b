use std::time::Duration;

use clap::ValueEnum;
use kinesis_sink::spool::{SpoolMode, Sync};
use serde::{Deserialize, Serialize};

/// A client to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Case {
    /// The baseline: a loop that sends full requests through the SDK
    Raw,
    /// The raw loop with CBOR, by the SDK's serializer
    RawCbor,
    /// The sink over `PutRecords`, with the SDK's serializer
    SinkSdk,
    Sink,
    /// The sink with its requests on a second thread
    SinkThreads,
    /// The sink over the default stack: trace, metrics, and timeout
    SinkLayers,
    /// The sink with `RecordOrdering::PerKey`
    SinkOrdered,
    SinkCbor,
    /// The sink with `Aggregation::PerShard`
    SinkAggregated,
    /// The sink with `Aggregation::PerShard` and CBOR
    SinkAggregatedCbor,
    Producer,
    /// A producer with a receipt for each record
    ProducerReceipts,
    /// A producer that is used through `Producer::sink`, as the cases with a spool
    ProducerSink,
    /// A spool with `Sync::Always`
    SpoolAlways,
    /// A spool with `Sync::Interval` of 100 ms
    SpoolInterval,
    /// A spool with `Sync::Never`
    SpoolNever,
    /// A spool with `SpoolMode::Overflow` that is not needed
    SpoolOverflow,
    /// The sink with 20 million records: see `--soak`
    #[value(skip)]
    SinkSoak,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    Sdk,
    Direct,
    Cbor,
}

impl Case {
    /// The compared cases, in the order in which they run and are printed.
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
        Self::ProducerSink,
        Self::SpoolOverflow,
        Self::SpoolNever,
        Self::SpoolInterval,
        Self::SpoolAlways,
    ];

    /// The cases that are also run with a round-trip time.
    pub const WITH_ROUND_TRIP: &[Self] =
        &[Self::Raw, Self::Sink, Self::SinkCbor, Self::SinkAggregated, Self::ProducerReceipts];

    pub fn uses_two_threads(self) -> bool {
        self == Self::SinkThreads
    }

    pub fn aggregates(self) -> bool {
        matches!(self, Self::SinkAggregated | Self::SinkAggregatedCbor)
    }

    /// Returns the settings of the spool, if there is one.
    pub fn spool(self) -> Option<(SpoolMode, Sync)> {
        let interval = Sync::Interval(Duration::from_millis(100));
        match self {
            Self::SpoolAlways => Some((SpoolMode::WriteAhead, Sync::Always)),
            Self::SpoolInterval => Some((SpoolMode::WriteAhead, interval)),
            Self::SpoolNever => Some((SpoolMode::WriteAhead, Sync::Never)),
            Self::SpoolOverflow => Some((SpoolMode::Overflow, interval)),
            _ => None,
        }
    }

    pub fn body(self) -> Body {
        match self {
            Self::SinkSdk => Body::Sdk,
            Self::SinkCbor | Self::SinkAggregatedCbor => Body::Cbor,
            _ => Body::Direct,
        }
    }

    /// Returns the name that is used in the table and in the chart.
    pub fn label(self) -> &'static str {
        match self {
            Self::Raw => "raw loop",
            Self::RawCbor => "raw loop, CBOR",
            Self::SinkSdk => "sink, SDK serializer",
            Self::Sink => "sink",
            Self::SinkThreads => "sink, requests on a second thread",
            Self::SinkLayers => "sink, trace, metrics, and timeout",
            Self::SinkOrdered => "sink, ordered per key",
            Self::SinkCbor => "sink, CBOR",
            Self::SinkAggregated => "sink, aggregated",
            Self::SinkAggregatedCbor => "sink, aggregated, CBOR",
            Self::Producer => "producer",
            Self::ProducerReceipts => "producer, receipt per record",
            Self::ProducerSink => "producer, sink",
            Self::SpoolAlways => "producer, sink, spool synced always",
            Self::SpoolInterval => "producer, sink, spool synced every 100 ms",
            Self::SpoolNever => "producer, sink, spool not synced",
            Self::SpoolOverflow => "producer, sink, unused overflow spool",
            Self::SinkSoak => "sink, soak",
        }
    }
}
