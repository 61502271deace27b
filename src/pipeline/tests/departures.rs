//! Records that leave the pipeline, which a spool acknowledges.

#![expect(clippy::single_range_in_vec_init, reason = "a list of ranges is expected")]

use std::ops::Range;

use super::*;

fn recording(settings: Settings) -> Harness {
    let mut harness = Harness::new(settings);
    harness.pipeline.ledger_mut().record_departures();
    harness
}

impl Harness {
    fn departed(&mut self) -> Vec<Range<u64>> {
        self.pipeline.ledger_mut().departures_mut().unwrap().take()
    }
}

fn rejected() -> Result<Placement, EntryError> {
    failed("InvalidArgumentException")
}

#[test]
fn departures_are_not_recorded_by_default() {
    let mut harness = Harness::new(settings());
    assert!(harness.pipeline.ledger_mut().departures_mut().is_none());
}

#[test]
fn delivered_records_depart() {
    let mut harness = recording(settings());
    harness.accept(0..4);
    harness.pipeline.close();
    let (id, _) = harness.send();
    assert_eq!(harness.departed(), []);
    harness.settle(id, vec![delivered(), failed(THROTTLE), delivered(), delivered()]);
    assert_eq!(harness.departed(), [0..1, 2..4]);
    harness.sleep();
    let (id, request) = harness.send();
    harness.deliver(id, &request);
    assert_eq!(harness.departed(), [1..2]);
}

#[test]
fn members_of_delivered_aggregate_depart() {
    let mut harness = recording(Settings { aggregation: Aggregation::PerKey, ..settings() });
    harness.accept(0..100);
    harness.pipeline.close();
    let (id, request) = harness.send();
    assert_eq!(request.entries().len(), 1);
    harness.deliver(id, &request);
    assert_eq!(harness.departed(), [0..100]);
}

#[test]
fn failed_record_departs_when_taken() {
    let mut harness = recording(settings());
    harness.accept(0..2);
    harness.pipeline.close();
    let (id, _) = harness.send();
    harness.settle(id, vec![rejected(), delivered()]);
    harness.pipeline.offer_failed(None);
    assert_eq!(harness.departed(), [1..2], "the failed record is kept");
    assert_eq!(harness.pipeline.take_failed().len(), 1);
    assert_eq!(harness.departed(), [0..1]);
}

#[test]
fn failed_record_departs_to_receipt_or_handler() {
    let mut harness = recording(settings());
    let (record, _receipt) = Record::from(("k", "tracked")).tracked();
    harness.pipeline.accept(record, harness.now).unwrap();
    harness.accept(0..1);
    harness.pipeline.close();
    let (id, _) = harness.send();
    harness.settle(id, vec![rejected(), rejected()]);
    assert_eq!(harness.departed(), [], "nothing has taken the records");
    harness.pipeline.offer_failed(Some(&SharedHandler::new(|_: Undelivered| {})));
    assert_eq!(harness.departed(), [0..2]);
}

#[test]
fn withdrawn_records_do_not_depart() {
    for withdraw in [Pipeline::take_undelivered, Pipeline::abandon] {
        let mut harness = recording(settings());
        harness.accept(0..3);
        harness.pipeline.close();
        let (id, _) = harness.send();
        harness.settle(id, vec![failed(THROTTLE), delivered(), failed(THROTTLE)]);
        assert_eq!(withdraw(&mut harness.pipeline).len(), 2);
        assert_eq!(harness.departed(), [1..2]);
    }
}
