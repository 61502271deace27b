//! What is measured, and with how many records.

use kinesis_sink::limits::MAX_REQUEST_ENTRIES;

use super::case::Case;

/// Everything in it is compared with the same raw loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    pub record_bytes: usize,
    pub round_trip_ms: u64,
    pub in_flight: usize,
}

/// Settings of the yardstick.
pub const SIZES: [usize; 4] = [100, 562, 1_024, 10_240];
pub const YARDSTICK_IN_FLIGHT: usize = 4;
/// Settings of the round trips.
const ROUND_TRIP_MS: u64 = 20;
const IN_FLIGHT: [usize; 3] = [1, 8, 24];

impl Setting {
    fn yardstick(record_bytes: usize) -> Self {
        Self { record_bytes, round_trip_ms: 0, in_flight: YARDSTICK_IN_FLIGHT }
    }

    fn with_round_trip(record_bytes: usize, in_flight: usize) -> Self {
        Self { record_bytes, round_trip_ms: ROUND_TRIP_MS, in_flight }
    }

    pub fn all(sizes: &[usize]) -> Vec<Self> {
        let yardsticks = sizes.iter().copied().map(Self::yardstick);
        let round_trips = sizes.iter().flat_map(|bytes| {
            IN_FLIGHT.into_iter().map(|in_flight| Self::with_round_trip(*bytes, in_flight))
        });
        yardsticks.chain(round_trips).collect()
    }

    /// For a look in under a minute.
    pub fn quick(sizes: &[usize]) -> Vec<Self> {
        let mut settings: Vec<_> = sizes.iter().copied().map(Self::yardstick).collect();
        settings.extend(sizes.first().map(|bytes| Self::with_round_trip(*bytes, 8)));
        settings
    }

    pub fn cases(&self) -> &'static [Case] {
        if self.round_trip_ms == 0 { Case::COMPARED } else { Case::WITH_ROUND_TRIP }
    }

    /// Enough for some tenths of a second of the raw loop's CPU time, or for some round trips.
    pub fn records(&self, case: Case, effort: &Effort) -> usize {
        // What a record costs the raw loop grows about so with its size.
        let for_cpu = effort.work / (800 + 2 * self.record_bytes);
        let for_cpu = for_cpu.next_multiple_of(MAX_REQUEST_ENTRIES);
        if self.round_trip_ms == 0 || case.aggregates() {
            return for_cpu;
        }
        for_cpu.min(MAX_REQUEST_ENTRIES * self.in_flight * ROUND_TRIPS)
    }
}

/// One after the other, in a run with a round-trip time.
const ROUND_TRIPS: usize = 30;

/// How long a run takes, and how often it is run.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// About the nanoseconds of the raw loop.
    work: usize,
    pub rounds: usize,
}

impl Effort {
    pub fn of(setting: &Setting, quick: bool, rounds: Option<usize>) -> Self {
        let (work, usual) = match (quick, setting.round_trip_ms) {
            (true, _) => (150_000_000, 3),
            (false, 0) => (300_000_000, 5),
            // What these tell is above all how many records a second pass, and that is steadier.
            (false, _) => (300_000_000, 3),
        };
        Self { work, rounds: rounds.unwrap_or(usual) }
    }
}
