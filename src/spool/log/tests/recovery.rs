//! Opening a log after a kill or a power failure.

use super::*;
use crate::spool::format::{Footer, Header};

#[test]
fn appended_records_survive_kill() {
    let files = FakeFiles::new(1);
    let (mut log, _) = open(files.another(), settings());
    append(&mut log, 0..25);
    log.acknowledge(3..5);
    log.write_acks().unwrap();
    drop(log);
    files.kill();
    let (mut log, recovered) = open(files.another(), settings());
    assert_eq!((recovered.records, recovered.torn_bytes), (23, 0));
    assert_eq!(read_all(&mut log), (0..3).chain(5..25).collect::<Vec<_>>());
    assert_eq!(log.next_seq(), 25);
}

#[test]
fn synced_records_survive_power_failure() {
    for seed in 0..200 {
        let files = FakeFiles::new(seed);
        let (mut log, _) = open(files.another(), settings());
        append(&mut log, 0..10);
        log.sync().unwrap();
        append(&mut log, 10..13);
        drop(log);
        files.crash();
        let (mut log, recovered) = open(files.another(), settings());
        let read = read_all(&mut log);
        assert_eq!(read.len() as u64, recovered.records, "seed {seed}");
        assert_eq!(read[..10], (0..10).collect::<Vec<_>>(), "seed {seed}");
    }
}

#[test]
fn torn_write_is_cut() {
    let files = FakeFiles::new(2);
    let (mut log, _) = open(files.another(), settings());
    append(&mut log, 0..3);
    log.sync().unwrap();
    drop(log);
    let mut contents = files.contents("00000000000000000000.seg");
    contents[64 + 2 * 1_036 + 500..].fill(0);
    files.set_contents("00000000000000000000.seg", &contents);
    files.crash();
    let strict = LogSettings { strict: true, ..settings() };
    let (mut log, recovered) = open(files.another(), strict);
    assert_eq!((recovered.records, recovered.torn_bytes), (2, 500));
    assert_eq!(recovered.damage, [], "an incomplete write is no damage");
    append(&mut log, 2..4);
    assert_eq!(read_all(&mut log), [0, 1, 2, 3]);
    assert_eq!(segments(&files).len(), 2, "nothing is appended to an old segment");
}

#[test]
fn acks_of_lost_records_do_not_apply_to_new_ones() {
    for kept in [0, 1] {
        let files = FakeFiles::new(3);
        let (mut log, _) = open(files.another(), settings());
        append(&mut log, 0..3);
        log.acknowledge(1..3);
        log.sync().unwrap();
        drop(log);
        // The records are lost, but their acknowledgements are not.
        let mut contents = files.contents("00000000000000000000.seg");
        contents[64 + kept * 1_036..].fill(0);
        files.set_contents("00000000000000000000.seg", &contents);
        files.crash();
        let (mut log, _) = open(files.another(), settings());
        assert_eq!(log.next_seq(), kept as u64);
        append(&mut log, kept as u64..5);
        log.sync().unwrap();
        assert_eq!(read_all(&mut log), [0, 1, 2, 3, 4]);
        log.close().unwrap();
        let (mut log, _) = open(files.another(), settings());
        assert_eq!(read_all(&mut log), [0, 1, 2, 3, 4]);
    }
}

#[test]
fn failed_sync_at_open_moves_records() {
    for seed in 0..50 {
        let files = FakeFiles::new(seed);
        let (mut log, _) = open(files.another(), settings());
        append(&mut log, 0..3);
        log.acknowledge(1..3);
        log.sync().unwrap();
        drop(log);
        let mut contents = files.contents("00000000000000000000.seg");
        contents[64 + 1_036..].fill(0);
        files.set_contents("00000000000000000000.seg", &contents);
        files.kill();
        // The sync of the acknowledgements, and that of the records.
        files.fail_syncs(2);
        let (mut log, recovered) = open(files.another(), settings());
        assert_eq!(recovered.records, 1);
        assert!(matches!(log.take_events()[..], [LogEvent::SyncFailed { moved: 1, .. }]));
        assert_eq!(log.synced_seq(), 0);
        append(&mut log, 1..5);
        // Only the records are synced, so the old acknowledgements are not replaced.
        log.sync_records().unwrap();
        drop(log);
        files.crash();
        let (mut log, _) = open(files.another(), settings());
        assert_eq!(read_all(&mut log), [0, 1, 2, 3, 4], "seed {seed}");
    }
}

#[test]
fn second_owner_is_refused() {
    let files = FakeFiles::new(4);
    let (log, _) = open(files.another(), settings());
    let error = Log::open(files.another(), settings()).expect_err("locked");
    assert_eq!(error.to_string(), "spool /simulated is used by another process or sink");
    log.close().unwrap();
    open(files.another(), settings());
}

#[test]
fn unknown_version_is_refused() {
    let files = FakeFiles::new(5);
    let (mut log, _) = open(files.another(), settings());
    append(&mut log, 0..3);
    log.close().unwrap();
    let name = "00000000000000000000.seg";
    let mut contents = files.contents(name);
    for copy in contents[..64].chunks_mut(32) {
        copy[8] = 2;
        let crc = crc32c::crc32c(&copy[..28]);
        copy[28..].copy_from_slice(&crc.to_le_bytes());
    }
    files.set_contents(name, &contents);
    let error = Log::open(files.another(), settings()).expect_err("a later version");
    assert!(matches!(error, LogError::Version { version: 2, known: 1, .. }), "{error}");
    assert!(error.to_string().contains(name), "{error}");
    assert_eq!(files.contents(name), contents, "the file is unchanged");
    Log::open(files.another(), settings()).expect_err("the lock was released before");
}

#[test]
fn open_reads_only_the_index() {
    let files = FakeFiles::new(6);
    // Sealed segments of 40 KiB, whose frames are never read.
    const SEGMENTS: u64 = 500;
    for index in 0..SEGMENTS {
        let (first, end) = (100 * index, 40 << 10);
        let mut contents = vec![0; end];
        contents[..64].copy_from_slice(&Header { salt: 1, first }.encode());
        let footer = Footer {
            salt: 1,
            first,
            next: first + 100,
            end: end as u64,
            oldest_accepted_at_ms: ACCEPTED_AT_MS,
        };
        contents.extend_from_slice(&footer.encode());
        files.set_contents(&format!("{first:020}.seg"), &contents);
    }
    let (log, recovered) = open(files.another(), settings());
    assert_eq!(recovered.records, 100 * SEGMENTS);
    assert_eq!(files.read_bytes(), 128 * SEGMENTS, "a header and a footer per segment");
    assert!(log.is_dirty() && log.stats().disk_bytes > 20_000_000);
    let (open, most) = files.open_files();
    assert_eq!((open, most), (0, 1));
}

#[test]
fn log_above_reduced_limit_drains() {
    let files = FakeFiles::new(7);
    let (mut log, _) = open(files.another(), settings());
    append(&mut log, 0..100);
    log.close().unwrap();
    let small = LogSettings { max_bytes: 32 << 10, ..settings() };
    let (mut log, _) = open(files.another(), small);
    assert!(matches!(log.append(&records(100..101)).stopped, Some(AppendError::Full)));
    log.acknowledge(0..100);
    append(&mut log, 100..101);
    log.sync().unwrap();
    assert!(files.main_bytes() <= 32 << 10);
    assert_eq!(read_all(&mut log), [100]);
}

#[test]
fn inspection_needs_no_lock() {
    let files = FakeFiles::new(8);
    let (mut log, _) = open(files.another(), settings());
    append(&mut log, 0..20);
    log.acknowledge(2..4);
    log.sync().unwrap();
    for info in [inspect(&files).unwrap(), verify(&files).unwrap()] {
        assert_eq!((info.records, info.damage.len(), info.torn_bytes), (18, 0, 0));
        assert_eq!(info.segments.len(), 3);
        let first = &info.segments[0];
        assert_eq!((first.records, first.unacknowledged, first.sealed), (7, 5, true));
        assert_eq!(first.oldest_accepted_at_ms, Some(ACCEPTED_AT_MS));
        assert!(!info.segments[2].sealed);
        assert_eq!(info.disk_bytes, files.main_bytes());
    }
    let before = files.read_bytes();
    inspect(&files).unwrap();
    assert!(files.read_bytes() - before < 20 << 10, "sealed segments are not read");
}

#[test]
fn errors_and_debug_contain_no_payload() {
    let files = FakeFiles::new(9);
    let (mut log, _) = open(files.another(), settings());
    log.append(&[record("MARKER")]);
    let mut contents = files.contents("00000000000000000000.seg");
    contents[64 + 38] ^= 1;
    files.set_contents("00000000000000000000.seg", &contents);
    assert!(read_all(&mut log).is_empty());
    let shown = format!("{log:?} {:?} {:?}", log.take_events(), verify(&files));
    assert!(!shown.contains("MARKER") && shown.contains("cause: Frame"), "{shown}");
}
