use std::time::Duration;

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
    /// for more latency; meant for aggregation.
    Fill(Duration),
}

impl Linger {
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
        Self::SelfClocked(Duration::from_millis(100))
    }
}
