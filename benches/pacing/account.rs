//! What became of every record, as a consumer of the stream finds it.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use kinesis_sink::aggregate::{Member, deaggregate};
use kinesis_sink::record::Key;
use kinesis_sink::shard::{HashRange, hash_of};
use kinesis_sink::sim::{SimStream, Written};

/// The ranges of all shards that there were, closed ones included.
#[derive(Default)]
pub struct Ranges(HashMap<String, HashRange>);

impl Ranges {
    /// To be called before and after each change of the shards.
    pub fn note(&mut self, stream: &SimStream) {
        let shards = stream.shards();
        self.0.extend(shards.iter().map(|shard| (shard.id().to_owned(), shard.range())));
    }

    /// All shards, in the order in which they were opened.
    #[allow(dead_code, reason = "the model of the whole sink reads shard after shard")]
    pub fn ids(&self) -> Vec<String> {
        let mut ids: Vec<_> = self.0.keys().cloned().collect();
        ids.sort_unstable();
        ids
    }

    /// The range of a shard.
    #[allow(dead_code, reason = "the model of the whole sink reads shard after shard")]
    pub fn of(&self, shard_id: &str) -> HashRange {
        *self.0.get(shard_id).expect("every shard was noted")
    }

    /// Whether a consumer of the KCL takes these members of one Kinesis record: it throws an aggregate away
    /// if one of them hashes outside of the shard.
    pub fn holds(&self, shard_id: &str, members: &[Member]) -> bool {
        let range = self.0.get(shard_id).expect("every shard was noted");
        let place = |member: &Member| {
            let key = member.partition_key().expect("members of aggregates have keys");
            member.explicit_hash_key().unwrap_or_else(|| hash_of(key))
        };
        members.iter().all(|member| range.contains(place(member)))
    }
}

/// What became of the records with the numbers from 0.
#[derive(Default)]
pub struct Account {
    /// When each was written first.
    pub first: Vec<Option<Duration>>,
    /// Copies beyond the first.
    pub duplicated: u64,
    /// Records whose first copy comes after the first copy of one with the same key that was accepted
    /// later.
    pub out_of_order: u64,
    /// Records whose last copy comes before the last copy of one with the same key that was accepted
    /// earlier.
    pub late_copies: u64,
    /// Members of aggregates that consumers throw away.
    pub unreadable: u64,
}

impl Account {
    /// Reads the stream in the order in which it was written: so parents come before their children.
    /// Whether the order of a key was kept is only told if asked for, with the numbers as the order of
    /// acceptance. They are read off each record's data and key.
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
            // Most are plain, and this is cheaper than to look for the digest.
            let members = record.data().starts_with(&[0xf3]).then(|| deaggregate(record.data()));
            let Some(members) = members.filter(|members| members.is_aggregate()) else {
                let key = record.partition_key();
                let number = number_of(record.data(), key);
                read.push((number, key.filter(|_| ordered).cloned()));
                account.read(number, key, record.at(), &mut latest);
                continue;
            };
            let members: Vec<_> = members.collect();
            if !ranges.holds(record.shard_id(), &members) {
                account.unreadable += members.len() as u64;
                continue;
            }
            for member in members {
                let number = number_of(member.data(), member.partition_key());
                read.push((number, member.partition_key().filter(|_| ordered).cloned()));
                account.read(number, member.partition_key(), record.at(), &mut latest);
            }
        }
        if ordered {
            account.note_late(&read);
        }
        account
    }

    /// What has an unknown outcome comes once more, in as many Kinesis records as it takes; so the last
    /// copies must be in order like the first ones.
    fn note_late(&mut self, read: &[(u64, Option<Key>)]) {
        let mut seen = HashSet::new();
        let mut oldest: HashMap<&Key, u64> = HashMap::new();
        for (number, key) in read.iter().rev() {
            let Some(key) = key.as_ref().filter(|_| seen.insert(*number)) else { continue };
            let oldest = oldest.entry(key).or_insert(*number);
            self.late_copies += u64::from(number > oldest);
            *oldest = (*oldest).min(*number);
        }
    }

    fn read(
        &mut self,
        number: u64,
        key: Option<&Key>,
        at: Duration,
        latest: &mut Option<HashMap<Key, u64>>,
    ) {
        let place = usize::try_from(number).expect("it counts records");
        if place >= self.first.len() {
            self.first.resize(place + 1, None);
        }
        if self.first[place].is_some() {
            self.duplicated += 1;
            return;
        }
        self.first[place] = Some(at);
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

    /// The accepted records that are neither in the stream nor held.
    pub fn lost<'a>(&self, accepted: &'a [u64], held: &[u64]) -> Vec<&'a u64> {
        let held: HashSet<_> = held.iter().collect();
        let is_lost = |number: &&u64| self.first(**number).is_none() && !held.contains(number);
        accepted.iter().filter(is_lost).collect()
    }
}
