//! Determines the fate of each record from the records on the stream, as a consumer would.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use kinesis_sink::aggregate::{Member, deaggregate};
use kinesis_sink::record::Key;
use kinesis_sink::shard::{HashRange, hash_of};
use kinesis_sink::sim::{SimStream, Written};

/// Hash ranges of all shards, including closed ones.
#[derive(Default)]
pub struct Ranges(HashMap<String, HashRange>);

impl Ranges {
    /// Adds the current shards. Must be called before and after each change of the shards.
    pub fn record(&mut self, stream: &SimStream) {
        let shards = stream.shards();
        self.0.extend(shards.iter().map(|shard| (shard.id().to_owned(), shard.range())));
    }

    /// Returns the IDs of all shards, in the order in which the shards were opened.
    #[allow(dead_code, reason = "the model of the whole sink reads shard after shard")]
    pub fn ids(&self) -> Vec<String> {
        let mut ids: Vec<_> = self.0.keys().cloned().collect();
        ids.sort_unstable();
        ids
    }

    #[allow(dead_code, reason = "the model of the whole sink reads shard after shard")]
    pub fn of(&self, shard_id: &str) -> HashRange {
        *self.0.get(shard_id).expect("every shard was recorded")
    }

    /// Returns `true` unless the KCL discards the aggregate because a member's hash key belongs to another shard.
    pub fn contain(&self, shard_id: &str, members: &[Member]) -> bool {
        let range = self.0.get(shard_id).expect("every shard was recorded");
        let hash_key = |member: &Member| {
            let key = member.partition_key().expect("members of aggregates have keys");
            member.explicit_hash_key().unwrap_or_else(|| hash_of(key))
        };
        members.iter().all(|member| range.contains(hash_key(member)))
    }
}

/// The fate of the records, by record number.
#[derive(Default)]
pub struct Account {
    /// Time at which each record was first written.
    pub first: Vec<Option<Duration>>,
    /// Number of copies in addition to the first copy of each record.
    pub duplicated: u64,
    /// Number of records whose first copy comes after the first copy of a later record with the same key.
    pub out_of_order: u64,
    /// Number of records whose last copy comes before the last copy of an earlier record with the same key.
    pub late_copies: u64,
    /// Number of members of aggregates that consumers discard.
    pub unreadable: u64,
}

impl Account {
    /// Reads the stream in the order in which it was written, so parents come before their children. `number_of`
    /// returns a record's number. If `ordered` is `true`, also checks that each key's records are in numerical order.
    pub fn of(
        written: &[Written],
        ranges: &Ranges,
        ordered: bool,
        number_of: impl Fn(&[u8], Option<&Key>) -> u64,
    ) -> Self {
        let mut account = Self::default();
        let mut latest = ordered.then(HashMap::new);
        let mut read = Vec::new();
        for record in written {
            // Most records are not aggregates. Comparing the first byte avoids computing a digest for each of them.
            let members = record.data().starts_with(&[0xf3]).then(|| deaggregate(record.data()));
            let Some(members) = members.filter(|members| members.is_aggregate()) else {
                let key = record.partition_key();
                let number = number_of(record.data(), key);
                read.push((number, key.filter(|_| ordered).cloned()));
                account.add(number, key, record.at(), &mut latest);
                continue;
            };
            let members: Vec<_> = members.collect();
            if !ranges.contain(record.shard_id(), &members) {
                account.unreadable += members.len() as u64;
                continue;
            }
            for member in members {
                let number = number_of(member.data(), member.partition_key());
                read.push((number, member.partition_key().filter(|_| ordered).cloned()));
                account.add(number, member.partition_key(), record.at(), &mut latest);
            }
        }
        if ordered {
            account.count_late_copies(&read);
        }
        account
    }

    /// Checks the order of the last copies, which must be kept even if an unknown outcome leads to a second attempt.
    fn count_late_copies(&mut self, read: &[(u64, Option<Key>)]) {
        let mut seen = HashSet::new();
        let mut oldest: HashMap<&Key, u64> = HashMap::new();
        for (number, key) in read.iter().rev() {
            let Some(key) = key.as_ref().filter(|_| seen.insert(*number)) else { continue };
            let oldest = oldest.entry(key).or_insert(*number);
            self.late_copies += u64::from(number > oldest);
            *oldest = (*oldest).min(*number);
        }
    }

    fn add(
        &mut self,
        number: u64,
        key: Option<&Key>,
        at: Duration,
        latest: &mut Option<HashMap<Key, u64>>,
    ) {
        let index = usize::try_from(number).expect("record numbers are small");
        if index >= self.first.len() {
            self.first.resize(index + 1, None);
        }
        if self.first[index].is_some() {
            self.duplicated += 1;
            return;
        }
        self.first[index] = Some(at);
        let (Some(latest), Some(key)) = (latest, key) else { return };
        match latest.get_mut(key) {
            Some(latest) if number < *latest => self.out_of_order += 1,
            Some(latest) => *latest = number,
            None => drop(latest.insert(key.clone(), number)),
        }
    }

    pub fn first(&self, number: u64) -> Option<Duration> {
        self.first.get(usize::try_from(number).ok()?).copied().flatten()
    }

    /// Returns the accepted records that are neither on the stream nor buffered.
    pub fn lost<'a>(&self, accepted: &'a [u64], buffered: &[u64]) -> Vec<&'a u64> {
        let buffered: HashSet<_> = buffered.iter().collect();
        let is_lost = |number: &&u64| self.first(**number).is_none() && !buffered.contains(number);
        accepted.iter().filter(is_lost).collect()
    }
}
