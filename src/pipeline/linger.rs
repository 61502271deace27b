#[cfg(feature = "serde")]
mod table;

use std::time::Duration;

use super::aggregation::Aggregation;

/// When a flush may send a request that is not full.
///
/// `forward` asks for a flush whenever its source has nothing ready, and `send` after every item. A sink
/// that sent a request each time would make thousands of tiny ones.
///
/// # What waiting brings, and what it costs
///
/// With [aggregation](crate::Aggregation) a longer wait is paid back in fuller aggregates. Measured in
/// virtual time: a source of records of 100 bytes for ten seconds, round trips of 20 ms, random keys out
/// of so many, four shards, aggregates of 50 KiB. In each cell: **records in each Kinesis record**; the
/// median, the 99th percentile and the longest time from acceptance to delivery; requests.
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
/// A full aggregate, of some 480 such records, goes as soon as nothing is in flight. The others go with the
/// linger, and then take a round trip: a record is delivered at most 120 ms after it was accepted with the
/// default, 1.02 s with a second, as long as there are slots and nothing is throttled. A longer linger does
/// nothing for keys that fill their aggregates sooner, and most for many keys: what counts is how many
/// records of one key, or of one shard, come within it.
///
/// `cargo test --test aggregation linger -- --ignored --nocapture` prints the table anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "table::LingerRepr", into = "table::LingerRepr"))]
#[non_exhaustive]
pub enum Linger {
    /// The default, with 100 ms: [`Adaptive`](Self::Adaptive) without aggregation, [`Fixed`](Self::Fixed) with it.
    Auto(Duration),
    /// A partial request is sent when nothing is in flight: at once on an idle
    /// sink, otherwise when the last request in flight completes, so the round trip sets the pace. The
    /// duration is a ceiling for a record's wait behind requests in flight, as long as there is a slot
    /// for another request; never a floor.
    Adaptive(Duration),
    /// A partial request waits this long for more records even when the sink is idle. Requests are fuller,
    /// and latency is higher.
    ///
    /// With [aggregation](crate::Aggregation) the wait fills aggregates: a full aggregate is sent as with
    /// [`Adaptive`](Self::Adaptive), the others wait. This is the default with aggregation, with 100 ms.
    ///
    /// `SinkExt::send` flushes after each item, and so waits this long for each: use `feed`, `forward`, or
    /// a [`Producer`](crate::Producer).
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

    /// Returns the longest time that a record waits for others.
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
