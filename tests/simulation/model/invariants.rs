//! Checks the invariants of the records on the stream after a run.

use std::collections::{HashMap, HashSet};

use kinesis_sink::aggregate::{Member, deaggregate};
use kinesis_sink::record::Key;
use kinesis_sink::sim::{SimStream, Written};
use kinesis_sink::{Aggregation, PartitionKey, RecordOrdering};

use super::account::Account;
use super::ledger::{Ledger, Location};
use super::records::{KEY_BYTES, MAGIC, number_of};
use super::scenario::{Caller, Scenario};

struct Copy {
    number: u64,
    location: Location,
    member: Member,
    key: Option<Key>,
    /// Set to `false` if the copy is in an aggregate that consumers discard.
    is_readable: bool,
}

pub fn check_stream(
    scenario: &Scenario,
    stream: &SimStream,
    ledger: &mut Ledger,
) -> Result<(), String> {
    if let Some(violation) = ledger.take_violation() {
        return Err(violation);
    }
    let written = stream.written();
    let copies: Vec<_> = written.iter().flat_map(|record| copies(record, ledger)).collect();
    for copy in &copies {
        check_copy(scenario, copy, ledger)?;
    }
    check_misleading(scenario, &written, ledger)?;
    let packed = copies.iter().filter(|copy| copy.location.sub_sequence_number.is_some());
    ledger.coverage.count("a member of an aggregate", packed.count());
    let empty = copies.iter().filter(|copy| copy.member.data().is_empty());
    ledger.coverage.count("an empty payload", empty.count());
    check_records(&copies, ledger)?;
    check_duplicates(&copies, ledger)?;
    check_order(scenario, &written, ledger)?;
    if scenario.settings.aggregation != Aggregation::PerShard
        && !scenario.switches_distribution
        && copies.iter().any(|copy| !copy.is_readable)
    {
        return Err("records in aggregates that consumers discard".to_owned());
    }
    Ok(())
}

fn copies(record: &Written, ledger: &Ledger) -> Vec<Copy> {
    let members: Vec<_> = deaggregate(record.data()).collect();
    let packed = members.iter().all(|member| member.sub_sequence_number().is_some());
    let is_readable = !packed || ledger.ranges.contain(record.shard_id(), &members);
    let copy = |member: Member| {
        let key = member.partition_key().or(record.partition_key()).cloned();
        let location = Location {
            shard_id: record.shard_id().to_owned(),
            sequence_number: record.sequence_number(),
            sub_sequence_number: member.sub_sequence_number(),
        };
        let number = number_of(member.data(), key.as_ref());
        Copy { number, location, member, key, is_readable }
    };
    members.into_iter().map(copy).collect()
}

fn check_copy(scenario: &Scenario, copy: &Copy, ledger: &Ledger) -> Result<(), String> {
    let number = copy.number;
    if !ledger.state(number).is_some_and(|state| state.accepted) {
        return Err(format!("{number} was written but not accepted"));
    }
    let record = scenario.records.record(number);
    let key_is_kept = match record.partition_key() {
        PartitionKey::Explicit(key) => copy.key.as_ref() == Some(key),
        PartitionKey::Random => true,
        _ => copy.key.is_none(),
    };
    if record.data() != copy.member.data() || !key_is_kept {
        return Err(format!("{number} was written with other data or another key"));
    }
    Ok(())
}

/// A payload that starts like an aggregate must be wrapped in one if it has a key and the aggregate is not too large.
fn check_misleading(
    scenario: &Scenario,
    written: &[Written],
    ledger: &mut Ledger,
) -> Result<(), String> {
    let record_bytes = scenario.settings.limits.record_bytes();
    for record in written.iter().filter(|record| record.data().starts_with(&MAGIC)) {
        let fits = record.data().len() + 2 * KEY_BYTES + 80 <= record_bytes;
        let is_aggregate = deaggregate(record.data()).is_aggregate();
        if scenario.settings.aggregates()
            && fits
            && record.partition_key().is_some()
            && !is_aggregate
        {
            return Err("a payload like an aggregate was sent unwrapped".to_owned());
        }
    }
    let misleading = written.iter().flat_map(|record| deaggregate(record.data()));
    let misleading = misleading.filter(|member| member.data().starts_with(&MAGIC));
    ledger.coverage.count("a payload like an aggregate", misleading.count());
    Ok(())
}

/// Checks that each accepted record was written where its response says, or was returned as undelivered.
fn check_records(copies: &[Copy], ledger: &Ledger) -> Result<(), String> {
    let locations: HashSet<_> = copies.iter().map(|copy| (copy.number, &copy.location)).collect();
    let readable: HashMap<_, _> =
        copies.iter().filter(|copy| copy.is_readable).map(|copy| (copy.number, copy)).collect();
    // A corrupted response can report a record as failed although it was written.
    let reported =
        copies.iter().filter(|copy| !ledger.is_reported_failed(&copy.location.sequence_number));
    let present: HashSet<_> = reported.map(|copy| copy.number).collect();
    for (number, state) in ledger.accepted() {
        for location in &state.locations {
            if !locations.contains(&(number, location)) {
                return Err(format!("{number} was delivered but is not at {location:?}"));
            }
        }
        if !state.locations.is_empty() && !readable.contains_key(&number) {
            return Err(format!("{number} was delivered but consumers discard it"));
        }
        if state.locations.is_empty() && !state.returned && !ledger.is_dropped {
            return Err(format!("{number} is lost: neither delivered nor returned"));
        }
        if state.reported_not_written && present.contains(&number) {
            return Err(format!("{number} was written but is reported as not written"));
        }
    }
    Ok(())
}

/// Checks that a record has duplicates only if the outcome of an attempt was unknown.
fn check_duplicates(copies: &[Copy], ledger: &mut Ledger) -> Result<(), String> {
    let mut counts: HashMap<u64, usize> = HashMap::new();
    for copy in copies {
        if !ledger.is_reported_failed(&copy.location.sequence_number) {
            *counts.entry(copy.number).or_default() += 1;
        }
    }
    for (number, count) in counts {
        let state = ledger.state(number).expect("the record was accepted");
        let explained = state.locations.len() + state.unknown_outcomes as usize;
        ledger.coverage.count("a duplicate", count - 1);
        if count > explained {
            return Err(format!("{number} has {count} copies, expected at most {explained}"));
        }
    }
    Ok(())
}

fn check_order(
    scenario: &Scenario,
    written: &[Written],
    ledger: &mut Ledger,
) -> Result<(), String> {
    let one_caller = matches!(scenario.caller, Caller::Owner(_) | Caller::Tasks { count: 1, .. });
    if scenario.settings.ordering != RecordOrdering::PerKey || scenario.faults.late_writes || !one_caller
        // A stream with AUTO distribution ignores keys, so it keeps no order.
        || scenario.switches_distribution
    {
        return Ok(());
    }
    let account = Account::of(written, &ledger.ranges, true, number_of);
    ledger.coverage.count("a record in key order", written.len());
    if account.out_of_order > 0 {
        return Err(format!("{} records out of order", account.out_of_order));
    }
    // A late copy of an earlier record is allowed if a later record of its key was returned after an attempt with an
    // unknown outcome, because the sink does not write the returned record again.
    let all_settled = ledger.accepted().all(|(_, state)| !state.returned) && !ledger.is_dropped;
    // If listings are stale, an aggregate other than the first one can be misplaced as well.
    let by_shard = scenario.settings.aggregation == Aggregation::PerShard;
    if by_shard && scenario.faults.lookups == 0.0 && all_settled {
        for shards in shard_orders(ledger) {
            check_first_copies(&shards, written, ledger)?;
        }
    }
    if account.late_copies > 0 && all_settled {
        return Err(format!("{} copies after later records of their keys", account.late_copies));
    }
    Ok(())
}

/// Returns two orders in which a consumer can read the shards. Both have parents before their children.
fn shard_orders(ledger: &Ledger) -> [Vec<String>; 2] {
    let oldest_first = ledger.ranges.ids();
    let mut left = oldest_first.clone();
    let mut newest_first = Vec::new();
    let overlap = |one: &str, other: &str| {
        let [one, other] = [one, other].map(|id| ledger.ranges.of(id));
        one.start() <= other.end() && other.start() <= one.end()
    };
    while !left.is_empty() {
        let is_next =
            |index: &usize| !left[..*index].iter().any(|older| overlap(older, &left[*index]));
        let next =
            (0..left.len()).rev().find(is_next).expect("the oldest shard has no parent left");
        newest_first.push(left.remove(next));
    }
    [oldest_first, newest_first]
}

/// Checks the order of the first copies, for a consumer that does not discard misplaced aggregates.
fn check_first_copies(
    shards: &[String],
    written: &[Written],
    ledger: &mut Ledger,
) -> Result<(), String> {
    let mut seen = HashSet::new();
    let mut latest: HashMap<Key, u64> = HashMap::new();
    for shard in shards {
        for record in written.iter().filter(|record| record.shard_id() == shard) {
            for copy in copies(record, ledger) {
                let Some(key) = copy.key.filter(|_| seen.insert(copy.number)) else { continue };
                let latest = latest.entry(key).or_insert(copy.number);
                if copy.number < *latest {
                    let (number, later) = (copy.number, *latest);
                    return Err(format!(
                        "without the discard rule {later} is read before {number}"
                    ));
                }
                *latest = copy.number;
                ledger.coverage.count("a record in order without the discard rule", 1);
            }
        }
    }
    Ok(())
}
