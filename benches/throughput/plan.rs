use kinesis_sink::limits::MAX_REQUEST_ENTRIES;

use super::case::Case;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    pub record_bytes: usize,
    pub round_trip_ms: u64,
    pub in_flight: usize,
}

pub const SIZES: [usize; 4] = [100, 562, 1_024, 10_240];
pub const BASELINE_IN_FLIGHT: usize = 4;
const ROUND_TRIP_MS: u64 = 20;
const IN_FLIGHT: [usize; 3] = [1, 8, 24];

impl Setting {
    fn without_round_trip(record_bytes: usize) -> Self {
        Self { record_bytes, round_trip_ms: 0, in_flight: BASELINE_IN_FLIGHT }
    }

    fn with_round_trip(record_bytes: usize, in_flight: usize) -> Self {
        Self { record_bytes, round_trip_ms: ROUND_TRIP_MS, in_flight }
    }

    pub fn all(sizes: &[usize]) -> Vec<Self> {
        let without_round_trip = sizes.iter().copied().map(Self::without_round_trip);
        let with_round_trip = sizes.iter().flat_map(|bytes| {
            IN_FLIGHT.into_iter().map(|in_flight| Self::with_round_trip(*bytes, in_flight))
        });
        without_round_trip.chain(with_round_trip).collect()
    }

    pub fn quick(sizes: &[usize]) -> Vec<Self> {
        let mut settings: Vec<_> = sizes.iter().copied().map(Self::without_round_trip).collect();
        settings.extend(sizes.first().map(|bytes| Self::with_round_trip(*bytes, 8)));
        settings
    }

    pub fn cases(&self) -> &'static [Case] {
        if self.round_trip_ms == 0 { Case::COMPARED } else { Case::WITH_ROUND_TRIP }
    }

    /// Returns enough records for some tenths of a second of CPU time in the raw loop, or for some round trips.
    pub fn records(&self, case: Case, effort: &Effort) -> usize {
        // The divisor approximates the nanoseconds per record of this size in the raw loop.
        let for_cpu = effort.nanoseconds / (800 + 2 * self.record_bytes);
        let for_cpu = for_cpu.next_multiple_of(MAX_REQUEST_ENTRIES);
        if self.round_trip_ms == 0 || case.aggregates() {
            return for_cpu;
        }
        for_cpu.min(MAX_REQUEST_ENTRIES * self.in_flight * ROUND_TRIPS)
    }
}

const ROUND_TRIPS: usize = 30;

#[derive(Debug, Clone, Copy)]
pub struct Effort {
    nanoseconds: usize,
    pub rounds: usize,
}

impl Effort {
    pub fn of(setting: &Setting, quick: bool, rounds: Option<usize>) -> Self {
        let (nanoseconds, default_rounds) = match (quick, setting.round_trip_ms) {
            (true, _) => (150_000_000, 3),
            (false, 0) => (300_000_000, 5),
            // These cases mainly show throughput, which varies less than CPU time.
            (false, _) => (300_000_000, 3),
        };
        Self { nanoseconds, rounds: rounds.unwrap_or(default_rounds) }
    }
}
