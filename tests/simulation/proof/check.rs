//! What must be true of the stream once everything is over.

use std::collections::{HashMap, HashSet};

use kinesis_sink::aggregate::{Member, deaggregate};
use kinesis_sink::record::Key;
use kinesis_sink::sim::{SimStream, Written};
use kinesis_sink::{Aggregation, PartitionKey, RecordOrdering};

use super::account::Account;
use super::drawn::{Caller, Drawn};
use super::ledger::{Ledger, Place};
use super::records::{KEY_BYTES, MAGIC, number_of};

/// One copy of a record, as a consumer finds it.
struct Copy {
    number: u64,
    place: Place,
    member: Member,
    key: Option<Key>,
    /// Consumers throw it away, with the whole aggregate.
    is_readable: bool,
}

/// # Errors
///
/// A promise was broken: this one.
pub fn check_stream(drawn: &Drawn, stream: &SimStream, ledger: &mut Ledger) -> Result<(), String> {
    if let Some(broken) = ledger.take_broken() {
        return Err(broken);
    }
    let written = stream.written();
    let copies: Vec<_> = written.iter().flat_map(|record| copies(record, ledger)).collect();
    for copy in &copies {
        check_copy(drawn, copy, ledger)?;
    }
    check_misleading(drawn, &written, ledger)?;
    let packed = copies.iter().filter(|copy| copy.place.sub_sequence_number.is_some());
    ledger.seen.note("a member of an aggregate", packed.count());
    let empty = copies.iter().filter(|copy| copy.member.data().is_empty());
    ledger.seen.note("an empty payload", empty.count());
    check_records(&copies, ledger)?;
    check_duplicates(&copies, ledger)?;
    check_order(drawn, &written, ledger)?;
    if drawn.settings.aggregation != Aggregation::PerShard
        && !drawn.switches
        && copies.iter().any(|copy| !copy.is_readable)
    {
        return Err("records in aggregates that consumers throw away".to_owned());
    }
    Ok(())
}

fn copies(record: &Written, ledger: &Ledger) -> Vec<Copy> {
    let members: Vec<_> = deaggregate(record.data()).collect();
    let packed = members.iter().all(|member| member.sub_sequence_number().is_some());
    let is_readable = !packed || ledger.ranges.contain(record.shard_id(), &members);
    let copy = |member: Member| {
        let key = member.partition_key().or(record.partition_key()).cloned();
        let place = Place {
            shard_id: record.shard_id().to_owned(),
            sequence_number: record.sequence_number(),
            sub_sequence_number: member.sub_sequence_number(),
        };
        let number = number_of(member.data(), key.as_ref());
        Copy { number, place, member, key, is_readable }
    };
    members.into_iter().map(copy).collect()
}

/// It is one of the accepted records, byte for byte.
fn check_copy(drawn: &Drawn, copy: &Copy, ledger: &Ledger) -> Result<(), String> {
    let number = copy.number;
    if !ledger.fate(number).is_some_and(|fate| fate.accepted) {
        return Err(format!("{number} is in the stream and was not accepted"));
    }
    let record = drawn.records.record(number);
    let key_is_kept = match record.partition_key() {
        PartitionKey::Explicit(key) => copy.key.as_ref() == Some(key),
        PartitionKey::Random => true,
        _ => copy.key.is_none(),
    };
    if record.data() != copy.member.data() || !key_is_kept {
        return Err(format!("{number} is in the stream with other data or another key"));
    }
    Ok(())
}

/// A payload that begins like an aggregate is in one, if it has a key and there is room for what that adds.
fn check_misleading(drawn: &Drawn, written: &[Written], ledger: &mut Ledger) -> Result<(), String> {
    let most = drawn.settings.limits.record_bytes();
    for record in written.iter().filter(|record| record.data().starts_with(&MAGIC)) {
        let fits = record.data().len() + 2 * KEY_BYTES + 80 <= most;
        let is_aggregate = deaggregate(record.data()).is_aggregate();
        if drawn.settings.aggregates() && fits && record.partition_key().is_some() && !is_aggregate
        {
            return Err("a payload like an aggregate went plain".to_owned());
        }
    }
    let misleading = written.iter().flat_map(|record| deaggregate(record.data()));
    let misleading = misleading.filter(|member| member.data().starts_with(&MAGIC));
    ledger.seen.note("a payload like an aggregate", misleading.count());
    Ok(())
}

/// Each accepted record is in the stream, where its answer said, or was handed back.
fn check_records(copies: &[Copy], ledger: &Ledger) -> Result<(), String> {
    let places: HashSet<_> = copies.iter().map(|copy| (copy.number, &copy.place)).collect();
    let readable: HashMap<_, _> =
        copies.iter().filter(|copy| copy.is_readable).map(|copy| (copy.number, copy)).collect();
    // An answer may say of what it holds that it failed.
    let told = copies.iter().filter(|copy| !ledger.is_excused(&copy.place.sequence_number));
    let present: HashSet<_> = told.map(|copy| copy.number).collect();
    for (number, fate) in ledger.accepted() {
        for place in &fate.places {
            if !places.contains(&(number, place)) {
                return Err(format!("{number} is not in the stream at {place:?}, as it was told"));
            }
        }
        if !fate.places.is_empty() && !readable.contains_key(&number) {
            return Err(format!("{number} was delivered, and no consumer finds it"));
        }
        if fate.places.is_empty() && !fate.ended && !ledger.is_dropped {
            return Err(format!("{number} is lost: neither delivered nor handed back"));
        }
        if fate.not_written && present.contains(&number) {
            return Err(format!("{number} is in the stream, and came back as not written"));
        }
    }
    Ok(())
}

/// A record comes again only where nobody could say that it was written.
fn check_duplicates(copies: &[Copy], ledger: &mut Ledger) -> Result<(), String> {
    let mut counts: HashMap<u64, usize> = HashMap::new();
    for copy in copies {
        if !ledger.is_excused(&copy.place.sequence_number) {
            *counts.entry(copy.number).or_default() += 1;
        }
    }
    for (number, count) in counts {
        let fate = ledger.fate(number).expect("it was accepted");
        let explained = fate.places.len() + fate.unknown as usize;
        ledger.seen.note("a duplicate", count - 1);
        if count > explained {
            return Err(format!(
                "{number} is there {count} times, of which {explained} have a reason"
            ));
        }
    }
    Ok(())
}

fn check_order(drawn: &Drawn, written: &[Written], ledger: &mut Ledger) -> Result<(), String> {
    let one_caller = matches!(drawn.caller, Caller::Owner(_) | Caller::Tasks { count: 1, .. });
    if drawn.settings.ordering != RecordOrdering::PerKey || drawn.trouble.late_writes || !one_caller
        // On a stream that ignores keys there is no order.
        || drawn.switches
    {
        return Ok(());
    }
    let account = Account::of(written, &ledger.ranges, true, number_of);
    ledger.seen.note("a record in its key's order", written.len());
    if account.out_of_order > 0 {
        return Err(format!("{} records out of order", account.out_of_order));
    }
    // What is handed back after an unknown outcome has its last copy where it was.
    let all_settled = ledger.accepted().all(|(_, fate)| !fate.ended) && !ledger.is_dropped;
    // Listings that are out of date misplace more than the first entry.
    let by_shard = drawn.settings.aggregation == Aggregation::PerShard;
    if by_shard && drawn.trouble.lookups == 0.0 && all_settled {
        for shards in shard_orders(ledger) {
            check_first_copies(&shards, written, ledger)?;
        }
    }
    if account.late_copies > 0 && all_settled {
        return Err(format!("{} copies after later records of their keys", account.late_copies));
    }
    Ok(())
}

/// Two orders in which a consumer may read the shards, parents before their children: each time it reads the
/// oldest or the newest shard whose parents are read, also those in which there is nothing.
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
            |place: &usize| !left[..*place].iter().any(|older| overlap(older, &left[*place]));
        let next = (0..left.len()).rev().find(is_next).expect("the oldest has no parent left");
        newest_first.push(left.remove(next));
    }
    [oldest_first, newest_first]
}

/// Checks the order for a consumer without the discard rule, which reads every copy, shard after shard. The first
/// copies of a key's records must be in order.
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
                ledger.seen.note("a record in order without the discard rule", 1);
            }
        }
    }
    Ok(())
}
