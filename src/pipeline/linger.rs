use std::time::Duration;

use super::aggregation::Aggregation;

/// When a flush may send a request that is not full.
///
/// `forward` asks for a flush whenever its source has nothing ready, and `send` after every item. A sink
/// that sent a request each time would make thousands of tiny ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Linger {
    /// The default, with 100 ms. A partial request goes when nothing is in flight: at once on an idle
    /// sink, otherwise when the last request in flight completes, so the round trip sets the pace. The
    /// duration is a ceiling for a record's wait behind requests in flight, as long as there is a slot
    /// for another request; never a floor.
    SelfClocked(Duration),
    /// A partial request waits this long for more records even when the sink is idle. Fuller requests
    /// for more latency.
    ///
    /// With [aggregation](crate::Aggregation) it is the aggregates that fill: one that is full goes like
    /// a record of a self-clocked sink, the others wait. This is the default there, with 100 ms.
    ///
    /// `SinkExt::send` flushes after each item, and so waits this long for each: use `feed`, `forward`, or
    /// a [`Producer`](crate::Producer).
    Fill(Duration),
}

impl Linger {
    const DEFAULT: Duration = Duration::from_millis(100);

    /// What it is unless it was set.
    pub(crate) fn default_with(aggregation: Aggregation) -> Self {
        match aggregation {
            Aggregation::Off => Self::SelfClocked(Self::DEFAULT),
            Aggregation::PerKey | Aggregation::PerShard => Self::Fill(Self::DEFAULT),
        }
    }

    /// The longest that a record waits for others.
    #[must_use]
    pub fn ceiling(self) -> Duration {
        match self {
            Self::SelfClocked(ceiling) | Self::Fill(ceiling) => ceiling,
        }
    }
}

impl Default for Linger {
    fn default() -> Self {
        Self::default_with(Aggregation::Off)
    }
}
