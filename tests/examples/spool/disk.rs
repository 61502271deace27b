//! Tests of a spool on a small disk, which fills up, empties, and fills again.
#![cfg(target_os = "linux")]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kinesis_sink::limits::Limits;
use kinesis_sink::record::FailureReason;
use kinesis_sink::spool::{Spool, WhenFull};
use kinesis_sink::{ErrorKind, KinesisSink, Producer, Record, SinkBuilder, Undelivered};
use tokio::time::timeout;

use crate::support::mock_service::{MockService, all_delivered, service_error};
use crate::support::small_disk::SmallDisk;

const DISK_MIB: u32 = 4;
/// More than a producer keeps in memory, because those records are not dropped.
const LARGE_DISK_MIB: u32 = 24;
const SEGMENT_BYTES: u64 = 256 * 1024;
const RECORD_BYTES: usize = 10_000;
/// Time after which a call counts as waiting for space. A write to memory takes less than a millisecond.
const WAIT: Duration = Duration::from_millis(700);
const TIMEOUT: Duration = Duration::from_secs(60);

/// A service that fails all requests until a flag is set.
struct Outage {
    service: MockService,
    is_over: Arc<AtomicBool>,
}

impl Outage {
    fn start() -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let over = is_over.clone();
        let service = MockService::new(move |_, request| {
            if over.load(Ordering::Relaxed) {
                Ok(all_delivered(request))
            } else {
                Err(service_error("InternalFailure"))
            }
        });
        Self { service: service.with_round_trip(Duration::from_millis(2)), is_over }
    }

    fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    fn begin(&self) {
        self.is_over.store(false, Ordering::Relaxed);
    }
}

fn spool(disk: &Path) -> Spool {
    // The disk is the limit, not the setting.
    Spool::at(disk.join("spool")).with_segment_bytes(SEGMENT_BYTES)
}

/// Returns a builder with a small buffer and without shard quotas, so that the disk fills and empties in seconds.
fn builder(spool: Spool) -> SinkBuilder {
    let limits = Limits::default().with_shard_records(1_000_000).with_shard_bytes(1 << 40);
    KinesisSink::builder("example").with_spool(spool).configure(|settings| {
        settings.limits = limits;
        settings.buffer_bytes = 1 << 20;
        settings.seed = Some(1);
    })
}

fn start(disk: &Path, outage: &Outage) -> Producer {
    builder(spool(disk)).build_with(outage.service.clone()).unwrap().spawn()
}

fn record(number: u32) -> Record {
    Record::from(format!("{number:x>RECORD_BYTES$}"))
}

fn numbers(data: &[String]) -> Vec<u32> {
    data.iter().map(|data| data.trim_start_matches('x').parse().unwrap()).collect()
}

/// Sends records until a call waits for space. Returns the number of the first record that was not accepted.
async fn fill(producer: &Producer, first: u32) -> u32 {
    for number in first.. {
        match timeout(WAIT, producer.send(record(number))).await {
            Ok(sent) => sent.unwrap(),
            Err(_) => return number,
        }
        assert!(number - first < 2_000, "the disk of {DISK_MIB} MiB does not fill up");
    }
    unreachable!()
}

fn assert_undamaged(disk: &Path) {
    let info = spool(disk).verify().unwrap();
    assert!(info.damage.is_empty(), "{:?}", info.damage);
}

fn assert_each_delivered_once(outage: &Outage, accepted: u32) {
    let delivered = numbers(&outage.service.delivered());
    assert_eq!(delivered.len(), accepted as usize);
    assert!(delivered.into_iter().collect::<BTreeSet<_>>().into_iter().eq(0..accepted));
}

#[tokio::test(flavor = "multi_thread")]
async fn small_disk_fills_empties_and_fills_again() {
    let Some(disk) = SmallDisk::mount("small-disk", DISK_MIB) else { return };
    let outage = Outage::start();
    let producer = start(disk.path(), &outage);
    let mut accepted = 0;
    for _ in 0..3 {
        let before = accepted;
        accepted = fill(&producer, accepted).await;
        let bytes = (accepted - before) as usize * RECORD_BYTES;
        // The file system, the header of each segment, and a segment that cannot be allocated need space too.
        assert!(bytes > 3 << 20, "{bytes} bytes fit on {DISK_MIB} MiB");
        assert!(producer.status().spool.unwrap().is_full);
        assert_undamaged(disk.path());

        let waiting = producer.send(record(accepted));
        tokio::pin!(waiting);
        assert!(timeout(WAIT, &mut waiting).await.is_err(), "there is no space");
        outage.end();
        timeout(TIMEOUT, waiting).await.expect("service resumes when space is back").unwrap();
        accepted += 1;
        timeout(TIMEOUT, producer.flush()).await.unwrap().unwrap();
        assert!(!producer.status().spool.unwrap().is_full);
        outage.begin();
    }
    outage.end();
    producer.close().await.unwrap();
    assert_each_delivered_once(&outage, accepted);
    assert_undamaged(disk.path());
}

#[tokio::test(flavor = "multi_thread")]
async fn spool_opens_on_full_disk() {
    let Some(disk) = SmallDisk::mount("full-disk", DISK_MIB) else { return };
    let outage = Outage::start();
    let producer = start(disk.path(), &outage);
    let accepted = fill(&producer, 0).await;
    producer.close_within(Duration::ZERO).await.unwrap();
    // Not even a byte is left for the new segment that each start needs.
    let ballast = disk.path().join("ballast");
    std::fs::write(&ballast, vec![1; (DISK_MIB as usize) << 20]).unwrap_err();

    let producer = start(disk.path(), &outage);
    assert_eq!(producer.recovered(), u64::from(accepted));
    outage.end();
    timeout(TIMEOUT, producer.close()).await.unwrap().unwrap();
    assert_each_delivered_once(&outage, accepted);
    std::fs::remove_file(ballast).unwrap();

    let producer = start(disk.path(), &outage);
    assert_eq!(producer.recovered(), 0);
    producer.send(record(accepted)).await.unwrap();
    producer.close().await.unwrap();
    assert_each_delivered_once(&outage, accepted + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn full_disk_refuses_record() {
    let Some(disk) = SmallDisk::mount("refusing-disk", DISK_MIB) else { return };
    let outage = Outage::start();
    let spool = spool(disk.path()).when_full(WhenFull::Refuse);
    let producer = builder(spool).build_with(outage.service.clone()).unwrap().spawn();
    let mut accepted = 0;
    let refused = loop {
        match producer.send(record(accepted)).await {
            Ok(()) => accepted += 1,
            Err(error) => break error,
        }
        assert!(accepted < 2_000, "the disk of {DISK_MIB} MiB does not fill up");
    };
    assert_eq!(refused.kind(), ErrorKind::SpoolFull);
    let returned = refused.into_record().expect("the record is returned");
    assert_eq!(returned.data(), record(accepted).data());
    outage.end();
    timeout(TIMEOUT, producer.flush()).await.unwrap().unwrap();
    // The thread of the spool notices that there is space a moment later.
    let resent = async {
        while let Err(error) = producer.send(returned.clone()).await {
            assert_eq!(error.kind(), ErrorKind::SpoolFull);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(2), resent).await.expect("service resumes");
    producer.close().await.unwrap();
    assert_each_delivered_once(&outage, accepted + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn full_disk_drops_oldest_into_dead_letters() {
    let Some(disk) = SmallDisk::mount("dropping-disk", LARGE_DISK_MIB) else { return };
    let outage = Outage::start();
    let dropped = Arc::new(Mutex::new(Vec::new()));
    let spool = spool(disk.path()).when_full(WhenFull::DropOldest);
    let handler = {
        let dropped = dropped.clone();
        move |undelivered: Undelivered| {
            assert!(matches!(undelivered.reason(), FailureReason::SpoolFull));
            let text = String::from_utf8(undelivered.record().data().to_vec()).unwrap();
            dropped.lock().unwrap().push(text);
        }
    };
    let producer = builder(spool)
        .with_dead_letters(handler)
        .build_with(outage.service.clone())
        .unwrap()
        .spawn();
    // Twice as much as fits.
    let sent = 2 * (LARGE_DISK_MIB << 20) / RECORD_BYTES as u32;
    for number in 0..sent {
        timeout(TIMEOUT, producer.send(record(number))).await.unwrap().unwrap();
    }
    outage.end();
    timeout(TIMEOUT, producer.close()).await.unwrap().unwrap();
    let dropped = numbers(&dropped.lock().unwrap());
    assert!(dropped.len() as u32 > sent / 4, "{} of {sent} dropped", dropped.len());
    assert!(dropped.is_sorted(), "the oldest first");
    assert!(!dropped.contains(&(sent - 1)), "the newest record is kept");
    let mut all = numbers(&outage.service.delivered());
    all.extend(dropped);
    all.sort_unstable();
    assert!(all.into_iter().eq(0..sent), "each record is either delivered or dropped");
}
