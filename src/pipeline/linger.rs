#[cfg(feature = "serde")]
mod table;

use std::time::Duration;

use super::aggregation::Aggregation;

/// Duration for which a partial request or aggregate waits for more records.
///
/// The sink does not send a partial request on every flush. This would result in thousands of small requests, because
/// `forward` flushes whenever its source is not ready, and `send` flushes after every item.
///
/// # Latency and throughput
///
/// With [aggregation](crate::Aggregation), a longer linger results in fuller aggregates. The following table was
/// measured in virtual time. A source sends 100-byte records for ten seconds, with random keys from a set of the given
/// size. Round trips take 20 ms, the stream has four shards, and aggregates have up to 50 KiB. Each cell contains the
/// **records per Kinesis record**; the median, 99th percentile, and maximum time from acceptance to delivery; and the
/// number of requests.
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
/// A full aggregate, which contains about 480 of these records, is sent as soon as no request is in flight. Other
/// aggregates are sent when their linger ends. As long as the in-flight limit is not reached and no record is
/// throttled, a record is delivered within the linger plus one round trip, which is 120 ms with the default linger and
/// 1.02 s with a linger of 1 s. A longer linger has no effect for keys that fill their aggregates earlier. It has the
/// largest effect with many keys, because it then determines how many records with the same key or shard share an
/// aggregate.
///
/// `cargo test --test aggregation linger -- --ignored --nocapture` prints the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "table::LingerRepr", into = "table::LingerRepr"))]
#[non_exhaustive]
pub enum Linger {
    /// Behaves like [`Adaptive`](Self::Adaptive) without aggregation, and like [`Fixed`](Self::Fixed) with aggregation.
    /// This is the default, with a duration of 100 ms.
    Auto(Duration),
    /// When the sink is flushed, sends a partial request immediately if no request is in flight, and otherwise as soon
    /// as all requests in flight have completed. The round-trip time therefore determines the request rate.
    ///
    /// The duration limits how long a record waits for requests in flight. After this duration, the partial request is
    /// sent as soon as the in-flight limit permits another request. The duration can be zero.
    Adaptive(Duration),
    /// Sends a partial request after this duration, even if the sink is idle. Compared to [`Adaptive`](Self::Adaptive),
    /// requests contain more records, and latency is higher.
    ///
    /// With [aggregation](crate::Aggregation), only aggregates that are not full wait for this duration. Full
    /// aggregates are sent as with [`Adaptive`](Self::Adaptive). `Fixed` is the default with aggregation, with a
    /// duration of 100 ms.
    ///
    /// `SinkExt::send` flushes after each item and therefore waits for this duration after each item. Use `feed`,
    /// `forward`, or a [`Producer`](crate::Producer) instead.
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

    /// Returns the maximum time that a record waits for other records.
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
