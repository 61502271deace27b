//! Failed syncs: the records are written to another segment, and the sync is never repeated.

use super::*;

#[test]
fn failed_sync_moves_records_to_new_segment() {
    let files = FakeFiles::new(1);
    let (mut log, _) = open(files.another(), settings());
    append(&mut log, 0..2);
    log.sync().unwrap();
    append(&mut log, 2..5);
    log.acknowledge(1..3);
    files.fail_syncs(1);
    log.sync().unwrap();
    assert!(matches!(
        log.take_events()[..],
        [LogEvent::SyncFailed { moved: 3, unprotected: 0, .. }]
    ));
    assert_eq!(segments(&files), ["00000000000000000000.seg", "00000000000000000002.seg"]);
    assert_eq!(log.synced_seq(), 5);
    assert_eq!(read_all(&mut log), [0, 3, 4]);
    drop(log);
    files.crash();
    let (mut log, recovered) = open(files.another(), settings());
    assert_eq!((recovered.records, recovered.damage), (3, vec![]));
    assert_eq!(read_all(&mut log), [0, 3, 4]);
}

#[test]
fn failed_first_sync_replaces_segment() {
    let files = FakeFiles::new(2);
    let (mut log, _) = open(files.another(), settings());
    append(&mut log, 0..3);
    files.fail_syncs(1);
    log.sync().unwrap();
    assert_eq!(segments(&files), ["00000000000000000000.seg"]);
    append(&mut log, 3..5);
    log.sync().unwrap();
    drop(log);
    files.crash();
    let (mut log, _) = open(files.another(), settings());
    assert_eq!(read_all(&mut log), [0, 1, 2, 3, 4]);
}

#[test]
fn records_are_kept_while_all_syncs_fail() {
    for seed in 0..50 {
        let files = FakeFiles::new(seed);
        let (mut log, _) = open(files.another(), settings());
        append(&mut log, 0..2);
        log.sync().unwrap();
        append(&mut log, 2..5);
        files.set_faults(Faults { sync: 1.0, ..Faults::default() });
        for _ in 0..3 {
            assert!(matches!(log.sync(), Err(LogError::Io { .. })));
            assert_eq!(log.synced_seq(), 2);
            let appended = log.append(&records(5..6));
            assert!(matches!(appended.stopped, Some(AppendError::Io(_))));
            // They are read from memory, because the file may not contain them.
            assert_eq!(read_all(&mut log), [0, 1, 2, 3, 4]);
        }
        assert!(log.is_dirty());
        files.set_faults(Faults::default());
        log.sync().unwrap();
        append(&mut log, 5..6);
        log.sync().unwrap();
        drop(log);
        files.crash();
        let (mut log, _) = open(files.another(), settings());
        assert_eq!(read_all(&mut log), [0, 1, 2, 3, 4, 5], "seed {seed}");
    }
}

#[test]
fn failed_directory_sync_is_not_ignored() {
    for seed in 0..50 {
        let files = FakeFiles::new(seed);
        let (mut log, _) = open(files.another(), settings());
        append(&mut log, 0..2);
        files.set_faults(Faults { sync_directory: 1.0, ..Faults::default() });
        assert!(log.sync().is_err());
        assert_eq!(log.synced_seq(), 0);
        files.set_faults(Faults::default());
        log.sync().unwrap();
        drop(log);
        files.crash();
        let (mut log, _) = open(files.another(), settings());
        assert_eq!(read_all(&mut log), [0, 1], "seed {seed}");
    }
}

#[test]
fn unkept_records_are_reported_when_sync_fails() {
    let files = FakeFiles::new(3);
    let unkept = LogSettings { keeps_unsynced: false, ..settings() };
    let (mut log, _) = open(files.another(), unkept);
    append(&mut log, 0..2);
    assert_eq!(log.stats().unsynced_bytes, 0);
    files.fail_syncs(1);
    assert!(log.sync().is_err());
    assert!(matches!(
        log.take_events()[..],
        [LogEvent::SyncFailed { moved: 0, unprotected: 2, .. }]
    ));
    append(&mut log, 2..4);
    log.sync().unwrap();
    assert_eq!(segments(&files).len(), 2, "nothing is appended after unsynced records");
}

#[test]
fn failed_ack_sync_rewrites_file() {
    for seed in 0..50 {
        let files = FakeFiles::new(seed);
        let (mut log, _) = open(files.another(), settings());
        append(&mut log, 0..5);
        log.acknowledge(0..1);
        log.sync().unwrap();
        log.acknowledge(2..4);
        files.fail_syncs(1);
        log.sync().unwrap();
        assert!(matches!(log.take_events()[..], [LogEvent::AckWriteFailed { .. }]));
        assert!(log.is_dirty());
        log.sync().unwrap();
        assert!(!log.is_dirty());
        drop(log);
        files.crash();
        let (mut log, _) = open(files.another(), settings());
        assert_eq!(read_all(&mut log), [1, 4], "seed {seed}");
    }
}

#[test]
fn close_repeats_failed_acks() {
    for seed in 0..50 {
        let files = FakeFiles::new(seed);
        let (mut log, _) = open(files.another(), settings());
        append(&mut log, 0..10);
        log.sync().unwrap();
        log.acknowledge(0..1);
        log.acknowledge(8..9);
        let writes = seed % 2 == 0;
        if writes {
            // The footer, and the first acknowledgements.
            files.fail_writes(2);
        } else {
            files.fail_syncs(1);
        }
        let closed = log.close();
        assert_eq!(closed.is_ok(), !writes, "{closed:?}");
        files.crash();
        let (mut log, _) = open(files.another(), settings());
        assert_eq!(read_all(&mut log), (1..8).chain(9..10).collect::<Vec<_>>(), "seed {seed}");
    }
}

#[test]
fn removed_segment_does_not_reappear_after_crash() {
    for seed in 0..200 {
        let files = FakeFiles::new(seed);
        let (mut log, _) = open(files.another(), settings());
        append(&mut log, 0..20);
        log.acknowledge(0..5);
        log.sync().unwrap();
        log.acknowledge(5..7);
        // Only the acknowledgements up to here must survive.
        log.write_acks().unwrap();
        drop(log);
        files.crash();
        let (mut log, _) = open(files.another(), settings());
        let read = read_all(&mut log);
        assert!(read == (5..20).collect::<Vec<_>>() || read == (7..20).collect::<Vec<_>>());
        log.acknowledge(0..7);
        log.sync().unwrap();
        drop(log);
        files.crash();
        let (mut log, _) = open(files.another(), settings());
        assert_eq!(read_all(&mut log), (7..20).collect::<Vec<_>>(), "seed {seed}");
    }
}

#[test]
fn sync_is_due_above_eight_mebibytes() {
    let wide = LogSettings { max_bytes: 64 << 20, segment_bytes: 16 << 20, ..settings() };
    let (mut log, _) = open(FakeFiles::new(4), wide);
    log.append(&[record(vec![0; 5 << 20])]);
    assert!(!log.sync_is_due());
    log.append(&[record(vec![0; 5 << 20])]);
    assert!(log.sync_is_due());
    log.sync_records().unwrap();
    assert!(!log.sync_is_due());
}
