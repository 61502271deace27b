//! Model test of the pipeline, with random sequences of records, responses, and times.
//!
//! A failing case is shrunk, printed, and written to `proptest-regressions/`. Later runs replay these cases first.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use futures::FutureExt;
use proptest::prelude::*;

use super::model_steps::{Answer, ENTRY_CODES, Step, any_settings, step};
use super::model_stream::{Stream, hash_of_entry, hash_of_member, members, number};
use super::*;
use crate::ErrorKind;
use crate::aggregate;
use crate::record::{PartitionKey, Receipt};
use crate::service::Entry;
use crate::shard::{Shard, ShardMap};

/// A pipeline and the expected state of each of its records.
struct Model {
    harness: Harness,
    settings: Settings,
    stream: Stream,
    /// Result of the listing in progress.
    listing: Option<Vec<Shard>>,
    /// Result of the latest successful listing.
    listed: Option<ShardMap>,
    /// Record sizes by record number. The next two fields have the same format.
    accepted: BTreeMap<usize, usize>,
    delivered: BTreeMap<usize, usize>,
    /// Failed and withdrawn records.
    returned: BTreeMap<usize, usize>,
    /// Records that may be in the stream although they were not delivered.
    unknown: BTreeSet<usize>,
    in_flight: Vec<(RequestId, PutRecordsRequest)>,
    receipts: BTreeMap<usize, Receipt>,
}

impl Model {
    fn new((settings, lists_shards, seed): (Settings, bool, u64), shards: usize) -> Self {
        let classify = Arc::new(DefaultClassify);
        Self {
            harness: Harness::with(settings.clone(), lists_shards, classify, seed),
            settings,
            stream: Stream::new(shards),
            listing: None,
            listed: None,
            accepted: BTreeMap::new(),
            delivered: BTreeMap::new(),
            returned: BTreeMap::new(),
            unknown: BTreeSet::new(),
            in_flight: Vec::new(),
            receipts: BTreeMap::new(),
        }
    }

    fn apply(&mut self, step: &Step) {
        let now = self.harness.now;
        match step {
            Step::Accept { bytes, key, hash_key, tracked } => {
                let hash_key = hash_key.map(|place| self.stream.hash_key(place));
                self.accept(*bytes, *key, hash_key, *tracked);
            }
            Step::Send => {
                self.send();
            }
            Step::Answer { index, answer, seed } if !self.in_flight.is_empty() => {
                let (id, request) = self.in_flight.swap_remove(index % self.in_flight.len());
                self.answer(id, &request, answer, *seed);
            }
            Step::Answer { .. } => {}
            Step::Refuse { code } => self.harness.pipeline.fail_service(service_error(code), now),
            Step::Wait { millis } => {
                self.harness.now += Duration::from_millis(*millis);
                self.harness.pipeline.advance(self.harness.now);
            }
            Step::Wake => {
                if self.harness.pipeline.wakeup(now).is_some() {
                    self.harness.sleep();
                    self.harness.pipeline.advance(self.harness.now);
                }
            }
            Step::Flush => self.harness.pipeline.flush(),
            // If the pipeline closed earlier, there would be little to test.
            Step::Close if self.accepted.len() > 20 => self.harness.pipeline.close(),
            Step::Close => {}
            Step::ReadFatal => drop(self.harness.pipeline.health_mut().take_fatal()),
            Step::OfferFailed => self.harness.pipeline.offer_failed(None),
            Step::TakeFailed => {
                let taken = self.harness.pipeline.take_failed();
                self.check_returned(taken);
            }
            Step::Reshard { seed } => self.stream.reshard(&mut Rng::with_seed(*seed)),
            Step::BeginListing => self.begin_listing(),
            Step::EndListing { fails } => self.end_listing(*fails),
            Step::Describe { more } => self.describe(*more),
            Step::FailRefused => {
                self.mark_in_flight();
                let error = AttemptError { code: "Refused".into(), message: String::new() };
                self.harness.pipeline.fail_unsettled(&Arc::new(error));
            }
            Step::Rest => self.harness.pipeline.rest(),
            Step::TakeUndelivered => {
                self.mark_in_flight();
                let taken = self.harness.pipeline.take_undelivered();
                let order: Vec<_> = taken.iter().map(|one| number(one.record().data())).collect();
                assert!(order.is_sorted(), "{order:?}");
                self.check_returned(taken);
            }
        }
    }

    /// Adds the records in flight to the records that may have been written.
    fn mark_in_flight(&mut self) {
        let members = self.harness.pipeline.in_flight.entries().flat_map(QueuedEntry::members);
        self.unknown.extend(members.map(|one| number(one.record().data())));
    }

    /// Applies a description with the same or a higher record limit, so that accepted records remain valid.
    fn describe(&mut self, more: usize) {
        let limit = self.settings.limits.record_bytes() + more;
        let limits = self.settings.limits.with_record_bytes(limit);
        Arc::make_mut(&mut self.harness.pipeline.settings).limits = limits;
        self.settings.limits = limits;
        let description = StreamDescription::default().with_max_record_bytes(limit);
        self.harness.pipeline.apply_description(Some(description), self.harness.now);
    }

    fn begin_listing(&mut self) {
        if self.harness.begin_listing() {
            assert!(self.listing.is_none(), "a listing is in progress");
            self.listing = Some(self.stream.shards.clone());
        }
    }

    fn end_listing(&mut self, fails: bool) {
        let Some(shards) = self.listing.take() else { return };
        let map = (!fails).then(|| ShardMap::new(shards).unwrap());
        self.listed = map.clone();
        let before = self.buffered();
        self.harness.pipeline.apply_list(map, self.harness.now);
        self.mark_delivered(&before);
    }

    fn buffered(&self) -> BTreeMap<usize, usize> {
        let records = self.harness.pipeline.undelivered();
        records.into_iter().map(|record| (number(record.data()), record.size())).collect()
    }

    /// Adds the records that are no longer buffered to the delivered records. Checks that a consumer can read them.
    fn mark_delivered(&mut self, before: &BTreeMap<usize, usize>) {
        let after = self.buffered();
        for (number, size) in before.iter().filter(|(number, _)| !after.contains_key(number)) {
            let previous = self.delivered.insert(*number, *size);
            assert_eq!(previous, None, "record settled twice");
            assert!(self.stream.readable.contains(number), "record {number} is not readable");
        }
    }

    fn accept(&mut self, bytes: usize, key: u8, hash_key: Option<u128>, tracked: bool) {
        let number = self.accepted.len();
        let data = format!("{number}{}", ".".repeat(bytes));
        let record = Record::from(data);
        let record = match key {
            0..6 => record.with_partition_key(format!("{key}")),
            6 => record.with_partition_key("ä".repeat(12)),
            7 => record.with_partition_key(PartitionKey::ServiceManaged),
            _ => record,
        };
        let record = match hash_key {
            Some(hash_key) => record.with_explicit_hash_key(hash_key),
            None => record,
        };
        let size = record.size();
        let (record, receipt) = if tracked {
            let (record, receipt) = record.tracked();
            (record, Some(receipt))
        } else {
            (record, None)
        };
        let has_capacity = self.harness.pipeline.has_capacity();
        match self.harness.pipeline.accept(record, self.harness.now) {
            Ok(()) => {
                assert!(has_capacity);
                self.accepted.insert(number, size);
                self.receipts.extend(receipt.map(|receipt| (number, receipt)));
            }
            Err(refused) => {
                let expected = match refused.kind() {
                    ErrorKind::RecordTooLarge => size > self.settings.limits.record_bytes(),
                    ErrorKind::Full => !has_capacity,
                    ErrorKind::Closed => self.harness.pipeline.is_closing(),
                    other => panic!("not an error of the pipeline: {other:?}"),
                };
                assert!(expected, "refused without a reason: {refused}");
                assert_eq!(refused.record().unwrap().size(), size);
                drop(refused);
                if let Some(receipt) = receipt {
                    let undelivered = receipt.now_or_never().unwrap().unwrap_err();
                    assert_eq!(undelivered.reason(), &FailureReason::Dropped);
                }
            }
        }
    }

    fn send(&mut self) -> bool {
        let wants_to_send = self.harness.pipeline.wants_to_send(self.harness.now);
        let next = self.harness.pipeline.next_request(self.harness.now);
        let Some((id, request, reason)) = next else {
            // The pipeline might have resumed a lane without sending a request.
            let pipeline = &self.harness.pipeline;
            let still_wants_to_send = pipeline.wants_to_send(self.harness.now);
            assert!(!still_wants_to_send || pipeline.backlog.oldest_closed().is_none());
            return false;
        };
        assert!(wants_to_send, "{reason:?}");
        let limits = &self.settings.limits;
        assert!((1..=limits.request_entries()).contains(&request.entries().len()));
        let alone = request.entries().len() == 1 && members(&request.entries()[0]).len() == 1;
        assert!(request.bytes() <= limits.request_bytes() || alone);
        let order: Vec<_> = request.entries().iter().map(|entry| members(entry)[0]).collect();
        assert!(order.is_sorted_by(|a, b| a < b), "{order:?}");
        for entry in request.entries() {
            self.check_entry(entry);
        }
        self.in_flight.push((id, request));
        assert!(self.harness.pipeline.in_flight.len() <= self.settings.max_in_flight);
        true
    }

    fn answer(&mut self, id: RequestId, request: &PutRecordsRequest, answer: &Answer, seed: u64) {
        let before = self.buffered();
        // Skips a withdrawn request, because a late write would break the order of its records.
        if !self.harness.pipeline.in_flight.contains(id) {
            return;
        }
        match answer {
            Answer::Entries { failing } => {
                let mut rng = Rng::with_seed(seed);
                let mut results = Vec::new();
                for entry in request.entries() {
                    if rng.u8(1..=100) > *failing {
                        results.push(Ok(self.stream.write(entry)));
                        self.unknown.extend(members(entry));
                        continue;
                    }
                    let code = rng.choice(ENTRY_CODES).unwrap();
                    results.push(failed(code));
                    if code == "IncompleteResult" {
                        self.unknown.extend(members(entry));
                    }
                }
                self.harness.settle(id, results);
            }
            Answer::WrongLength { by } => {
                self.write_randomly(request, seed);
                let results = request.entries().len().saturating_add_signed(isize::from(*by));
                self.harness.settle(id, (0..results).map(|_| delivered()).collect());
            }
            Answer::Error { code } => {
                if *code == "InternalFailure" {
                    self.write_randomly(request, seed);
                }
                self.harness.fail(id, code);
            }
            Answer::Shed => {
                let shed = tower::load_shed::error::Overloaded::new();
                self.harness.pipeline.settle(id, Err(shed.into()), self.harness.now);
            }
        }
        self.mark_delivered(&before);
    }

    /// Writes some entries of a request with an unknown outcome.
    fn write_randomly(&mut self, request: &PutRecordsRequest, seed: u64) {
        let mut rng = Rng::with_seed(seed);
        for entry in request.entries() {
            self.unknown.extend(members(entry));
            if rng.bool() {
                self.stream.write(entry);
            }
        }
    }

    /// Checks that the first copies and the last copies of the records of a key are in the order of acceptance.
    fn check_order(&self) {
        if self.settings.ordering != RecordOrdering::PerKey {
            return;
        }
        for ((key, _), read) in &self.stream.read {
            // Skips random keys, which are longer than the keys of the model.
            if key.as_ref().is_none_or(|key| key.len() > 1 && key.is_ascii()) {
                continue;
            }
            let read: Vec<_> = read.iter().collect();
            let mut firsts = Vec::new();
            let mut lasts = Vec::new();
            for number in &read {
                if !firsts.contains(number) {
                    firsts.push(*number);
                }
            }
            // The last copy of a withdrawn record can be out of order.
            let settled = read.iter().filter(|number| !self.returned.contains_key(number));
            for number in settled.rev() {
                if !lasts.contains(number) {
                    lasts.push(*number);
                }
            }
            assert!(firsts.is_sorted(), "first copies: {read:?}");
            assert!(lasts.iter().rev().is_sorted(), "last copies: {read:?}");
        }
    }

    fn check_entry(&self, entry: &Entry) {
        let found: Vec<_> = aggregate::deaggregate(entry.data()).collect();
        let numbers = members(entry);
        assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
        assert!(entry.size() <= self.settings.limits.record_bytes());
        if found.len() == 1 {
            assert!(found[0].sub_sequence_number().is_none(), "a single record is sent plain");
            return;
        }
        let settings = &self.settings;
        assert!(settings.is_aggregating());
        assert!(entry.size() <= settings.aggregate_bytes);
        assert!(found.len() <= settings.aggregate_records);
        let hashes: Vec<_> = found.iter().map(hash_of_member).collect();
        let first = hashes[0];
        assert_eq!(hash_of_entry(entry), first, "aggregate and first member differ in hash");
        let key = entry.partition_key().unwrap();
        match settings.aggregate_key {
            AggregateKey::FirstMember => assert_eq!(Some(key), found[0].partition_key()),
            AggregateKey::Kpl => assert_eq!(key.as_str(), "a"),
        }
        let shard =
            |hash| self.listed.as_ref().and_then(|map| map.find(hash)).map(|shard| shard.id());
        let together = hashes.iter().all(|hash| shard(*hash) == shard(first));
        let one_shard =
            settings.aggregation == Aggregation::PerShard && shard(first).is_some() && together;
        assert!(one_shard || hashes.iter().all(|hash| *hash == first), "aggregate spans shards");
    }

    fn check_returned(&mut self, taken: Vec<Undelivered>) {
        for undelivered in taken {
            let record = undelivered.record();
            let unknown = self.unknown.contains(&number(record.data()));
            assert_eq!(undelivered.may_have_been_written(), unknown, "{undelivered:?}");
            let previous = self.returned.insert(number(record.data()), record.size());
            assert_eq!(previous, None, "record returned twice");
        }
    }

    /// Takes the outcomes of settled receipts. A receipt is settled if and only if its record is.
    fn read_receipts(&mut self) {
        self.harness.pipeline.settlement_mut().notify();
        let held: BTreeSet<_> =
            self.harness.pipeline.undelivered().iter().map(|held| number(held.data())).collect();
        for (number, mut receipt) in std::mem::take(&mut self.receipts) {
            match (&mut receipt).now_or_never() {
                None => {
                    assert!(held.contains(&number), "the receipt of record {number} is open");
                    self.receipts.insert(number, receipt);
                }
                Some(Ok(delivery)) => {
                    assert!(self.delivered.contains_key(&number), "{delivery:?}");
                    assert!(delivery.attempts() > 0);
                }
                // `take_undelivered` has returned the record as well.
                Some(Err(_)) if self.returned.contains_key(&number) => {}
                Some(Err(undelivered)) => self.check_returned(vec![undelivered]),
            }
        }
    }

    /// Checks the invariants that hold after every step.
    fn check(&mut self) {
        let pipeline = &self.harness.pipeline;
        let held: BTreeMap<_, _> =
            pipeline.undelivered().iter().map(|held| (number(held.data()), held.size())).collect();
        assert_eq!(held.len(), pipeline.undelivered().len(), "record buffered twice");
        let mut found = held.clone();
        found.extend(&self.delivered);
        found.extend(&self.returned);
        assert_eq!(found, self.accepted, "record lost or duplicated");
        assert_eq!(held.len() + self.delivered.len() + self.returned.len(), self.accepted.len());

        assert_eq!(pipeline.ledger().buffered().records, held.len());
        assert_eq!(pipeline.ledger().buffered().bytes, held.values().sum::<usize>());
        assert!(held.len() <= self.settings.effective_buffer_records());
        let most = self.settings.buffer_bytes + self.settings.limits.record_bytes();
        assert!(pipeline.ledger().buffered().bytes < most);
        pipeline.backlog.check(&pipeline.topology);
        assert!(pipeline.wakeup(self.harness.now).is_none_or(|at| at > self.harness.now));

        let is_listing = pipeline.topology.unverified().is_empty() || self.listing.is_some();
        assert!(is_listing || pipeline.topology.needs_listing(), "no listing is requested");

        let totals = pipeline.ledger().totals();
        let unsettled = (pipeline.queued() + pipeline.in_flight()) as u64;
        let settled = totals.delivered + totals.failed + totals.withdrawn;
        assert_eq!(totals.accepted, settled + unsettled);
        assert_eq!(totals.delivered_bytes, self.delivered.values().sum::<usize>() as u64);
        self.check_progress();
    }

    /// Checks that queued records can be sent, or that a response, a timer, or the removal of an error will wake the
    /// pipeline.
    fn check_progress(&mut self) {
        let now = self.harness.now;
        let pipeline = &mut self.harness.pipeline;
        let error = pipeline.health.is_stopped();
        let wakes = pipeline.wants_to_send(now) || pipeline.wakeup(now).is_some();
        // With ordering, records can wait for the listing that verifies earlier records.
        let is_held =
            pipeline.backlog.is_repartition_due() || pipeline.backlog.oldest_sendable().is_none();
        let listing_comes = is_held && !pipeline.topology.unverified().is_empty();
        let waits = pipeline.queued() > 0 && pipeline.in_flight.is_empty() && !listing_comes;
        assert!(!waits || error || wakes, "stuck: {pipeline:?}");
        let due_or_error = pipeline.wants_to_send(now) || error;
        if let Some(at) = pipeline.wakeup(now).filter(|_| waits && !due_or_error) {
            let expires =
                pipeline.schedule().next_deadline().is_some_and(|deadline| deadline <= at);
            let lists = pipeline.topology.wakeup(now).is_some_and(|listing| listing <= at);
            let refills = pipeline.backlog.lanes().wakeup().is_some_and(|wakeup| wakeup <= at);
            let bisected = pipeline.backlog.bisected().next().is_some();
            let isolated =
                pipeline.schedule().next_isolated_at(at).is_some_and(|isolated| isolated <= at);
            let due = refills
                || bisected
                || isolated
                || pipeline.schedule().lane_flush_reason(at).is_some();
            let useful = expires || lists || due || pipeline.wakeup(at).is_some();
            assert!(useful, "spurious wakeup: {pipeline:?}");
        }
    }

    /// Delivers all requests from now on, and checks that all records are settled.
    fn drain(&mut self) {
        self.harness.pipeline.close();
        for _ in 0..10_000 {
            let _ = self.harness.pipeline.health_mut().take_fatal();
            self.harness.pipeline.advance(self.harness.now);
            if self.harness.pipeline.is_settled() {
                break;
            }
            self.begin_listing();
            self.end_listing(false);
            if self.send() || self.harness.pipeline.is_settled() {
                continue;
            }
            if let Some((id, request)) = self.in_flight.pop() {
                self.answer(id, &request, &Answer::Entries { failing: 0 }, 0);
            } else {
                self.harness.sleep();
            }
        }
        assert!(self.harness.pipeline.is_settled(), "{:?}", self.harness.pipeline);
        let failed = self.harness.pipeline.take_failed();
        self.check_returned(failed);
        self.read_receipts();
        self.check();
        self.check_order();
        let pipeline = &self.harness.pipeline;
        assert!(pipeline.backlog.has_no_state(), "{pipeline:?}");
        assert!(pipeline.topology.unverified().is_empty());
        assert!(self.receipts.is_empty());
        assert_eq!(self.harness.pipeline.ledger().buffered().records, 0);
        assert_eq!(self.delivered.len() + self.returned.len(), self.accepted.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn every_record_is_settled_once(
        settings in any_settings(),
        shards in 1..=7_usize,
        steps in prop::collection::vec(step(), 1..250),
    ) {
        let mut model = Model::new(settings, shards);
        for step in &steps {
            model.apply(step);
            model.read_receipts();
            model.check();
        }
        model.drain();
    }
}
