//! Tests of the log, mostly on a simulated disk.

mod append;
mod bit_flips;
mod damage;
mod disk;
mod model;
mod recovery;
mod sync;

use std::ops::Range;

use super::*;
use crate::record::Record;
use crate::spool::files::{FakeFiles, Faults};

const ACCEPTED_AT_MS: u64 = 1_760_000_000_000;

/// Small sizes, so that a test has many segments.
fn settings() -> LogSettings {
    LogSettings {
        max_bytes: 256 << 10,
        segment_bytes: 8 << 10,
        keeps_unsynced: true,
        strict: false,
    }
}

fn record(data: impl Into<bytes::Bytes>) -> SpooledRecord {
    SpooledRecord { record: Record::new(data), accepted_at_ms: ACCEPTED_AT_MS }
}

/// Returns records of 1,000 bytes, of which seven are in a segment. Their first bytes are their numbers.
fn records(numbers: Range<u64>) -> Vec<SpooledRecord> {
    let data = |number: u64| {
        let mut data = number.to_le_bytes().to_vec();
        data.resize(1_000, b'x');
        data
    };
    numbers.map(|number| record(data(number))).collect()
}

fn open<F: Files>(files: F, settings: LogSettings) -> (Log<F>, Recovered) {
    let Opened { log, recovered } = Log::open(files, settings).expect("opens");
    (log, recovered)
}

fn append<F: Files>(log: &mut Log<F>, numbers: Range<u64>) {
    let count = (numbers.end - numbers.start) as usize;
    let appended = log.append(&records(numbers));
    assert_eq!(appended.count, count, "{:?}", appended.stopped);
}

/// Reads all records and returns their sequence numbers, which equal their numbers.
fn read_all<F: Files>(log: &mut Log<F>) -> Vec<u64> {
    let mut cursor = log.cursor();
    let mut numbers = Vec::new();
    loop {
        let read = log.read(&mut cursor, 10, 1 << 20);
        if read.is_empty() {
            return numbers;
        }
        for (seq, found) in read {
            assert_eq!(found.record.data()[..8], seq.to_le_bytes());
            assert_eq!(found.accepted_at_ms, ACCEPTED_AT_MS);
            numbers.push(seq);
        }
    }
}

fn segments(files: &FakeFiles) -> Vec<String> {
    files.names().into_iter().filter(|name| name.ends_with(".seg")).collect()
}
