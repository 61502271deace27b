#[cfg(feature = "serde")]
mod table;

use std::time::Duration;

use super::aggregation::Aggregation;

/// Time that a partial request or aggregate waits for more records.
///
/// `forward` flushes whenever its source is not ready, and `send` after every item. Sending a request for each flush
/// would cause thousands of small requests.
///
/// # Latency and throughput
///
/// With [aggregation](crate::Aggregation), a longer linger fills aggregates. Measured in virtual time, with a source of
/// records of 100 bytes for ten seconds, round trips of 20 ms, random keys from a set of the given size, four shards,
/// and aggregates of 50 KiB. Each cell contains the **records per Kinesis record**; the median, 99th percentile, and
/// maximum time from acceptance to delivery; and the number of requests.
///
/// | aggregation | records/s | `Adaptive(100ms)` | `Fixed(100ms)` | `Fixed(1s)` |
/// |---|---|---|---|---|
/// | `PerKey`, 1 key | 100 | **2.0**; 20, 30, 30 ms; 501 | **10.0**; 70, 120, 120 ms; 100 | **100.0**; 520, 1010, 1020 ms; 10 |
/// | `PerKey`, 1 key | 1000 | **20.0**; 29, 39, 39 ms; 501 | **100.0**; 70, 119, 120 ms; 100 | **476.2**; 259, 497, 502 ms; 21 |
/// | `PerKey`, 1 key | 10000 | **199.6**; 29, 39, 39 ms; 501 | **480.8**; 44, 68, 69 ms; 208 | **480.8**; 44, 68, 69 ms; 208 |
/// | `PerKey`, no keys | 100 | **2.0**; 20, 30, 30 ms; 501 | **10.0**; 70, 120, 120 ms; 100 | **100.0**; 520, 1010, 1020 ms; 10 |
/// | `PerKey`, no keys | 1000 | **20.0**; 29, 39, 39 ms; 501 | **100.0**; 70, 119, 120 ms; 100 | **476.2**; 259, 497, 502 ms; 21 |
/// | `PerKey`, no keys | 10000 | **199.6**; 29, 39, 39 ms; 501 | **480.8**; 44, 68, 69 ms; 208 | **480.8**; 44, 68, 69 ms; 208 |
/// | `PerKey`, 100 keys | 100 | **1.0**; 20, 30, 30 ms; 501 | **1.0**; 90, 120, 120 ms; 165 | **1.7**; 610, 1020, 1020 ms; 19 |
/// | `PerKey`, 100 keys | 1000 | **1.0**; 29, 39, 39 ms; 501 | **1.8**; 81, 120, 120 ms; 194 | **9.7**; 508, 1012, 1020 ms; 17 |
/// | `PerKey`, 100 keys | 10000 | **2.3**; 29, 39, 39 ms; 501 | **9.1**; 66, 119, 120 ms; 193 | **100.0**; 520, 1010, 1020 ms; 10 |
/// | `PerShard`, 100 keys | 100 | **1.1**; 20, 30, 30 ms; 501 | **2.8**; 80, 120, 120 ms; 122 | **25.0**; 520, 1010, 1020 ms; 10 |
/// | `PerShard`, 100 keys | 1000 | **5.0**; 29, 39, 39 ms; 501 | **25.0**; 70, 119, 120 ms; 100 | **250.0**; 520, 1010, 1020 ms; 10 |
/// | `PerShard`, 100 keys | 10000 | **49.9**; 29, 39, 39 ms; 501 | **250.0**; 70, 119, 120 ms; 100 | **476.2**; 115, 263, 295 ms; 203 |
///
/// A full aggregate, about 480 of these records, is sent as soon as nothing is in flight. Other aggregates are sent
/// when the linger ends. As long as there are slots and nothing is throttled, a record is delivered within the linger
/// and one round trip: 120 ms by default, and 1.02 s with a linger of 1 s. A longer linger has no effect for keys that
/// fill their aggregates sooner. It helps most with many keys, because it determines how many records of one key or
/// shard share an aggregate.
///
/// `cargo test --test aggregation linger -- --ignored --nocapture` prints the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "table::LingerRepr", into = "table::LingerRepr"))]
#[non_exhaustive]
pub enum Linger {
    /// [`Adaptive`](Self::Adaptive) without aggregation, and [`Fixed`](Self::Fixed) with it. The default, with 100 ms.
    Auto(Duration),
    /// Sends a partial request when nothing is in flight: immediately if the sink is idle, otherwise when the last
    /// request in flight completes. The round trip therefore determines the request rate.
    ///
    /// The duration is the maximum time that a record waits behind requests in flight, as long as another request may
    /// be in flight. There is no minimum.
    Adaptive(Duration),
    /// Sends a partial request after this duration, even if the sink is idle. Requests are fuller, and latency is
    /// higher.
    ///
    /// With [aggregation](crate::Aggregation), only aggregates that are not full wait. Full ones are sent as with
    /// [`Adaptive`](Self::Adaptive). This is the default with aggregation, with 100 ms.
    ///
    /// `SinkExt::send` flushes after each item, and therefore waits for this duration each time. Use `feed`, `forward`,
    /// or a [`Producer`](crate::Producer) instead.
    Fixed(Duration),
}

impl Linger {
    /// Resolves [`Auto`](Self::Auto).
    pub(crate) fn resolve(self, aggregation: Aggregation) -> Self {
        match self {
            Self::Auto(duration) if aggregation == Aggregation::Off => Self::Adaptive(duration),
            Self::Auto(duration) => Self::Fixed(duration),
            Self::Adaptive(_) | Self::Fixed(_) => self,
        }
    }

    /// Returns the maximum time that a record waits for others.
    #[must_use]
    pub fn ceiling(self) -> Duration {
        match self {
            Self::Auto(ceiling) | Self::Adaptive(ceiling) | Self::Fixed(ceiling) => ceiling,
        }
    }
}

impl Default for Linger {
    fn default() -> Self {
        Self::Auto(Duration::from_millis(100))
    }
}

impl From<Duration> for Linger {
    fn from(duration: Duration) -> Self {
        Self::Auto(duration)
    }
}
