//! Checks the bounds at every step, and the place of each record at the end.

use std::collections::{HashMap, HashSet};

use kinesis_sink::aggregate::deaggregate;
use kinesis_sink::budget::Budget;
use kinesis_sink::sim::Written;
use kinesis_sink::{RecordOrdering, Router};

use super::ledger::{Ledger, RecordState, SharedLedger, Status, number_of};
use super::scenario::{End, Scenario};

/// Maximum size of the key of a record in bytes.
pub const KEY_BYTES: usize = 16;

/// Checks the bounds of the budget and of the number of open streams.
///
/// Each sink of the router can exceed them by one record and one stream. A record that is larger than half of the bytes, or
/// than the capacity that a sink of a producer has reserved, can exceed the bound for bytes.
pub fn check_bounds(scenario: &Scenario, router: &Router, budget: &Budget, ledger: &SharedLedger) {
    let (settings, buffered, in_flight) =
        (budget.settings(), budget.buffered(), budget.in_flight());
    let open = router.status().open_streams;
    let mut ledger = ledger.lock();
    let sinks = ledger.sinks + ledger.dropped_sinks;
    let large = (sinks + ledger.producer_sinks + 1) * (scenario.max_record_bytes + KEY_BYTES);
    let excess = [
        buffered.records.saturating_sub(settings.buffer_records),
        buffered.bytes.saturating_sub(settings.buffer_bytes),
        in_flight.saturating_sub(settings.max_in_flight),
        open.saturating_sub(scenario.router.max_streams),
    ];
    let allowed = [sinks, large, 0, sinks];
    if (0..4).any(|bound| excess[bound] > allowed[bound]) {
        ledger.violation(|| {
            format!(
                "{buffered:?} and {in_flight} requests in flight exceed {settings:?}, or {open} open \
                 streams exceed {}: by {excess:?}, allowed are {allowed:?}",
                scenario.router.max_streams
            )
        });
    }
    if excess == [0; 4] {
        // The records and streams of the dropped sinks are within the bounds.
        ledger.dropped_sinks = 0;
    }
    let exceeds = usize::from(excess[0] > 0 || excess[3] > 0);
    ledger.coverage.count("a bound exceeded by a sink", exceeds);
    let is_full = buffered.records >= settings.buffer_records;
    ledger.coverage.count("a full budget", usize::from(is_full));
}

/// Copies of a record in the streams.
#[derive(Default)]
struct Copies {
    /// Position of the first copy among all records of the stream.
    first: usize,
    /// Sequence number and shard of each copy.
    locations: Vec<(String, String)>,
}

/// Record in a stream: the index of the stream, the number of the record, and the time in milliseconds.
pub type WrittenRecord = (usize, usize, u128);

/// Checks that each record is in exactly one place. Returns all written records.
pub fn check_records(
    scenario: &Scenario,
    ledger: &mut Ledger,
) -> Result<Vec<WrittenRecord>, String> {
    let mut all = Vec::new();
    let mut copies: HashMap<usize, Copies> = HashMap::new();
    for (index, incarnations) in ledger.incarnations.iter().enumerate() {
        let written = incarnations.iter().flat_map(|stream| stream.written());
        for (position, (number, record)) in written.flat_map(members).enumerate() {
            let state = ledger.records.get(number).ok_or("an unknown record was written")?;
            if state.stream != index {
                return Err(format!("record {number} was written to another stream"));
            }
            all.push((index, number, record.at().as_millis()));
            let copies =
                copies.entry(number).or_insert(Copies { first: position, ..Copies::default() });
            copies.locations.push((record.sequence_number(), record.shard_id().to_owned()));
        }
    }
    let mut missing = Vec::new();
    for (number, state) in ledger.records.iter().enumerate() {
        let copies = copies.get(&number);
        check_record(scenario, number, state, copies)?;
        let is_settled = state.delivery.is_some() || state.returned.is_some() || copies.is_some();
        if state.status == Status::Accepted && !is_settled {
            let name = &scenario.streams[state.stream].name;
            let (through, at) = state.accepted.expect("the record was accepted");
            missing.push(format!("{number} of {name} after {:?}, {through}", at - ledger.start));
        }
    }
    // Dropping the last handle also drops failed records without a receipt.
    if !missing.is_empty() && scenario.end != End::DropAll {
        return Err(format!("{} records are lost: {}", missing.len(), missing.join(", ")));
    }
    check_order(scenario, ledger, &copies)?;
    let duplicates = all.len() - copies.len();
    ledger.coverage.count("a delivered record", copies.len());
    ledger.coverage.count("a duplicate", duplicates);
    Ok(all)
}

/// Returns the user records of a Kinesis record.
fn members(written: Written) -> Vec<(usize, Written)> {
    deaggregate(written.data()).map(|member| (number_of(member.data()), written.clone())).collect()
}

fn check_record(
    scenario: &Scenario,
    number: usize,
    state: &RecordState,
    copies: Option<&Copies>,
) -> Result<(), String> {
    let count = copies.map_or(0, |copies| copies.locations.len());
    let plan = &scenario.streams[state.stream];
    let status = state.status;
    if count > 0 && matches!(status, Status::Offered | Status::Refused) {
        return Err(format!(
            "record {number} was written although it was not accepted: {status:?}"
        ));
    }
    if count > 1 && !plan.fault.causes_duplicates() {
        return Err(format!("record {number} of {} was written {count} times", plan.name));
    }
    if let Some(delivery) = &state.delivery {
        let is_there = |(sequence_number, shard_id): &(String, String)| {
            sequence_number == delivery.sequence_number() && shard_id == delivery.shard_id()
        };
        let is_written = copies.is_some_and(|copies| copies.locations.iter().any(is_there));
        if !is_written {
            return Err(format!(
                "record {number} is not at the place in its receipt: {delivery:?}"
            ));
        }
        if state.returned.is_some() {
            return Err(format!("record {number} is delivered and returned"));
        }
    }
    match state.returned {
        Some(returned) if count > 0 && !returned.may_have_been_written => {
            Err(format!("record {number} is returned as not written, but was written"))
        }
        _ => Ok(()),
    }
}

/// Checks that the first copies of the records of each key are in the order of the calls.
fn check_order(
    scenario: &Scenario,
    ledger: &mut Ledger,
    copies: &HashMap<usize, Copies>,
) -> Result<(), String> {
    let mut last = HashMap::new();
    let mut returned = HashSet::new();
    for (number, state) in ledger.records.iter().enumerate() {
        let plan = &scenario.streams[state.stream];
        let is_ordered = plan.settings.ordering == RecordOrdering::PerKey;
        let (Some(key), Some(copies)) = (state.key.as_ref(), copies.get(&number)) else { continue };
        if !is_ordered {
            continue;
        }
        if state.returned.is_some() {
            returned.insert(number);
            continue;
        }
        ledger.coverage.count("an ordered record", 1);
        let earlier = last.insert((state.stream, key), (copies.first, number));
        if let Some((position, earlier)) = earlier
            && position > copies.first
        {
            let name = &plan.name;
            return Err(format!("records {earlier} and {number} of {name} are out of order"));
        }
    }
    ledger.coverage.count("a returned record that was written", returned.len());
    Ok(())
}
