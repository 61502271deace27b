//! Tests of the thread of a spool on a simulated disk. Each test runs the rounds of the thread itself.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::Instant;

use super::outlet::Outgoing;
use super::run::Worker;
use super::{Owner, SpoolHandle};
use crate::error::{Error, Rejection};
use crate::pipeline::Size;
use crate::record::{FailureReason, Receipt, Record, SharedHandler, Undelivered};
use crate::spool::files::{FakeFiles, Faults};
use crate::spool::{Spool, Sync, WhenFull};

/// A worker whose rounds are run by the test, and its handle.
struct Harness {
    worker: Worker<FakeFiles>,
    handle: Arc<SpoolHandle>,
}

type Writing<'a> = BoxFuture<'a, Result<(), (Option<Record>, Rejection)>>;

fn spool() -> Spool {
    Spool::at("spool").with_max_bytes(1 << 20).with_segment_bytes(64 << 10)
}

impl Harness {
    fn open(files: &FakeFiles, spool: Spool, dead_letters: Option<SharedHandler>) -> Self {
        let mut owner = Owner {
            stream: "example".parse().unwrap(),
            dead_letters,
            #[cfg(feature = "metrics")]
            metrics: None,
        };
        let worker = Worker::open(files.another(), &spool, &mut owner).unwrap();
        let handle = Arc::new(SpoolHandle { shared: worker.shared().clone() });
        Self { worker, handle }
    }

    fn new(files: &FakeFiles, spool: Spool) -> Self {
        Self::open(files, spool, None)
    }

    fn stage(&self, record: Record) {
        charge(&self.handle, &record);
        self.handle.stage(record, Instant::now()).unwrap();
    }

    /// Takes what the driver would get. A number is a record, and `None` is a flush.
    fn taken(&self) -> Vec<Option<u64>> {
        let mut taken = VecDeque::new();
        self.handle.take(usize::MAX, Waker::noop(), &mut taken);
        let seq = |outgoing| match outgoing {
            Outgoing::Record(record) => Some(record.seq),
            Outgoing::Flush(_) => None,
        };
        taken.into_iter().map(seq).collect()
    }
}

/// Charges a record like its permit, which the thread releases.
fn charge(handle: &SpoolHandle, record: &Record) {
    let size = Size { records: 1, bytes: record.size() };
    handle.staging().exchange((0, size), []).wake();
}

/// Starts to write a record. The future completes when the record is accepted.
fn write(handle: &SpoolHandle, record: Record) -> Writing<'_> {
    charge(handle, &record);
    let mut writing = handle.write(record, Instant::now()).boxed();
    assert!((&mut writing).now_or_never().is_none(), "no round was run");
    writing
}

fn record() -> Record {
    Record::from(("key", "data"))
}

/// Returns a record of which about ten fit into a segment.
fn large() -> Record {
    Record::from(vec![7; 6 << 10])
}

fn failing_sync() -> Faults {
    Faults { sync: 1.0, ..Faults::default() }
}

#[test]
fn write_resolves_after_sync() {
    let files = FakeFiles::new(1);
    let mut harness = Harness::new(&files, spool().with_sync(Sync::Always));
    files.set_faults(failing_sync());
    let handle = harness.handle.clone();
    let mut written = write(&handle, record());
    harness.worker.round();
    assert!((&mut written).now_or_never().is_none(), "the sync has failed");
    assert!(harness.handle.status().last_error.is_some());
    files.set_faults(Faults::default());
    // The sync is repeated after a tick.
    harness.worker.round();
    written.now_or_never().unwrap().unwrap();
    files.crash();
    let again = Harness::new(&files, spool());
    assert_eq!(again.handle.recovered(), 1, "the record was durable");
}

#[test]
fn write_without_sync_resolves_after_write() {
    for sync in [Sync::default(), Sync::Never] {
        let files = FakeFiles::new(1);
        let mut harness = Harness::new(&files, spool().with_sync(sync));
        // A new segment is synced.
        harness.stage(record());
        harness.worker.round();
        files.set_faults(failing_sync());
        let handle = harness.handle.clone();
        let written = write(&handle, record());
        harness.stage(record());
        harness.worker.round();
        written.now_or_never().unwrap().unwrap();
        files.kill();
        assert_eq!(Harness::new(&files, spool()).handle.recovered(), 3, "{sync:?}");
    }
}

#[test]
fn records_pass_outlet_in_order_and_once() {
    let files = FakeFiles::new(1);
    let spool = Spool::at("spool").with_max_bytes(64 << 20).with_segment_bytes(1 << 20);
    let mut harness = Harness::new(&files, spool);
    let mut taken = Vec::new();
    for round in 0..40 {
        for _ in 0..20 {
            harness.stage(Record::from(vec![0; 20 << 10]));
        }
        harness.worker.round();
        // The driver is too slow, so that most records stay only on disk.
        if round % 10 == 9 {
            taken.extend(harness.taken());
        }
    }
    while !harness.handle.is_drained() {
        let state = harness.handle.shared.state();
        let loads = state.wants_load();
        drop(state);
        if loads {
            harness.worker.round();
        }
        taken.extend(harness.taken());
    }
    assert_eq!(taken, (0..800).map(Some).collect::<Vec<_>>());
}

#[test]
fn flush_follows_records_on_disk() {
    let files = FakeFiles::new(1);
    let spool = Spool::at("spool").with_max_bytes(64 << 20).with_segment_bytes(1 << 20);
    let mut harness = Harness::new(&files, spool);
    for _ in 0..600 {
        harness.stage(Record::from(vec![0; 20 << 10]));
    }
    harness.worker.round();
    let (reply, _flushed) = tokio::sync::oneshot::channel::<Result<(), Error>>();
    harness.handle.flush(reply);
    harness.worker.round();
    harness.stage(record());
    harness.worker.round();
    let mut taken = Vec::new();
    while !harness.handle.is_drained() {
        taken.extend(harness.taken());
        if harness.handle.shared.state().wants_load() {
            harness.worker.round();
        }
    }
    assert_eq!(taken.iter().position(Option::is_none), Some(600));
    assert_eq!(taken.last(), Some(&Some(600)));
}

#[test]
fn full_disk_keeps_group_until_space_is_back() {
    let files = FakeFiles::new(1);
    let mut harness = Harness::new(&files, spool());
    files.set_capacity(files.used_bytes() + (100 << 10));
    for _ in 0..40 {
        harness.stage(large());
    }
    harness.worker.round();
    let accepted = harness.taken().len();
    assert!((5..20).contains(&accepted), "{accepted}");
    assert!(harness.handle.status().is_full);
    assert_eq!(harness.handle.records(), 40, "no record is lost");
    files.set_capacity(u64::MAX);
    // The write is repeated after a tick.
    while harness.handle.status().is_full {
        harness.worker.round();
    }
    assert_eq!(harness.taken().len(), 40 - accepted);
}

#[test]
fn refusing_spool_returns_waiting_records() {
    let files = FakeFiles::new(1);
    let mut harness = Harness::new(&files, spool().when_full(WhenFull::Refuse));
    files.set_capacity(files.used_bytes() + (100 << 10));
    let handle = harness.handle.clone();
    let writes: Vec<_> = (0..40).map(|_| write(&handle, large())).collect();
    harness.worker.round();
    let results: Vec<_> = writes.into_iter().map(|write| write.now_or_never().unwrap()).collect();
    let accepted = results.iter().take_while(|result| result.is_ok()).count();
    assert!((5..20).contains(&accepted), "{accepted}");
    for refused in &results[accepted..] {
        assert_eq!(refused, &Err((Some(large()), Rejection::SpoolFull)));
    }
    assert!(harness.handle.refuses());
    files.set_capacity(u64::MAX);
    // After a tick, the next record finds out that there is space again.
    harness.worker.round();
    assert!(!harness.handle.refuses());
    let written = write(&handle, large());
    harness.worker.round();
    written.now_or_never().unwrap().unwrap();
    assert!(!harness.handle.status().is_full);
}

#[test]
fn acknowledgements_are_written_within_tick() {
    let files = FakeFiles::new(1);
    let mut harness = Harness::new(&files, spool());
    for _ in 0..10 {
        harness.stage(record());
    }
    harness.worker.round();
    harness.handle.acknowledge([0..4, 6..7]);
    assert_eq!(harness.handle.records(), 5);
    for _ in 0..3 {
        harness.worker.round();
        if !harness.worker.has_work() {
            break;
        }
    }
    files.kill();
    assert_eq!(Harness::new(&files, spool()).handle.recovered(), 5);
}

#[test]
fn handler_that_declines_record_stops_dropping() {
    struct Declines;
    impl crate::record::DeadLetterHandler for Declines {
        fn put(&mut self, undelivered: Undelivered) -> Option<Undelivered> {
            assert_eq!(undelivered.reason(), &FailureReason::SpoolFull);
            Some(undelivered)
        }
    }
    let files = FakeFiles::new(1);
    let spool = Spool::at("spool")
        .with_max_bytes(8 << 20)
        .with_segment_bytes(1 << 20)
        .when_full(WhenFull::DropOldest);
    let mut harness = Harness::open(&files, spool, Some(SharedHandler::new(Declines)));
    for _ in 0..1_000 {
        harness.stage(Record::from(vec![0; 20 << 10]));
    }
    for _ in 0..4 {
        harness.worker.round();
    }
    assert!(harness.handle.status().is_full);
    assert_eq!(harness.handle.records(), 1_000, "no record is dropped");
    let size: usize = harness.taken().len();
    assert!(size < 450, "{size} records in memory");
}

#[test]
fn closing_worker_completes_receipts() {
    let files = FakeFiles::new(1);
    let harness = Harness::new(&files, spool());
    let (tracked, receipt): (Record, Receipt) = record().tracked();
    harness.stage(tracked);
    harness.handle.request_close();
    harness.worker.run();
    let undelivered = receipt.now_or_never().unwrap().unwrap_err();
    assert_eq!(undelivered.reason(), &FailureReason::Spooled { last: None });
    assert_eq!(undelivered.stream().unwrap().name(), "example");
    assert_eq!(undelivered.into_record(), record());
    charge(&harness.handle, &record());
    assert!(harness.handle.stage(record(), Instant::now()).is_err());
    assert_eq!(Harness::new(&files, spool()).handle.recovered(), 1);
}

#[test]
fn closing_worker_returns_unwritten_records() {
    let files = FakeFiles::new(1);
    let harness = Harness::new(&files, spool());
    files.set_capacity(files.used_bytes());
    // The segment has space for some of them.
    let mut receipts = Vec::new();
    for _ in 0..40 {
        let (tracked, receipt) = large().tracked();
        harness.stage(tracked);
        receipts.push(receipt);
    }
    let handle = harness.handle.clone();
    let waiting = write(&handle, large());
    harness.handle.request_close();
    harness.worker.run();
    assert_eq!(waiting.now_or_never().unwrap(), Err((Some(large()), Rejection::Closed)));
    let reasons: Vec<_> = receipts
        .into_iter()
        .map(|receipt| receipt.now_or_never().unwrap().unwrap_err().reason().code())
        .collect();
    let written = reasons.iter().filter(|reason| **reason == "spooled").count();
    assert!(reasons[written..].iter().all(|reason| *reason == "spool_full"), "{reasons:?}");
    assert!(written < 40);
    files.set_capacity(u64::MAX);
    assert_eq!(Harness::new(&files, spool()).handle.recovered(), written as u64);
}
