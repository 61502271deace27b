//! Limits of the size, the full disk, failed writes, and the removal of acknowledged segments.

use super::*;

#[test]
fn append_stops_at_limit_and_resumes() {
    let files = FakeFiles::new(1);
    let (mut log, _) = open(files.another(), settings());
    let appended = log.append(&records(0..1_000));
    assert!(matches!(appended.stopped, Some(AppendError::Full)) && log.is_full());
    assert!((200..256).contains(&appended.count), "{}", appended.count);
    assert!(files.main_bytes() <= settings().max_bytes);
    // The first segment has seven records.
    log.acknowledge(0..6);
    log.write_acks().unwrap();
    assert!(log.is_full());
    log.acknowledge(6..7);
    log.write_acks().unwrap();
    assert!(!log.is_full());
    let next = log.next_seq();
    append(&mut log, next..next + 7);
    assert_eq!(read_all(&mut log), (7..next + 7).collect::<Vec<_>>());
}

#[test]
fn append_stops_on_full_disk_and_resumes() {
    let files = FakeFiles::new(2);
    let (mut log, _) = open(files.another(), settings());
    append(&mut log, 0..20);
    files.set_capacity(files.used_bytes());
    let appended = log.append(&records(20..30));
    assert!(matches!(appended.stopped, Some(AppendError::Full)) && log.is_full());
    log.sync().unwrap();
    let next = log.next_seq();
    assert_eq!(read_all(&mut log), (0..next).collect::<Vec<_>>());
    files.set_capacity(u64::MAX);
    append(&mut log, next..next + 10);
    assert!(!log.is_full());
    drop(log);
    files.kill();
    let (mut log, recovered) = open(files.another(), settings());
    assert_eq!(recovered.records, next + 10);
    assert_eq!(read_all(&mut log), (0..next + 10).collect::<Vec<_>>());
}

#[test]
fn full_disk_without_preallocation_keeps_prefix() {
    let files = FakeFiles::new(3);
    files.set_preallocates(false);
    let (mut log, _) = open(files.another(), settings());
    append(&mut log, 0..2);
    files.set_capacity(files.used_bytes() + 3_500);
    let appended = log.append(&records(2..7));
    assert!(matches!(appended.stopped, Some(AppendError::Full)));
    assert!(appended.count >= 1 && appended.count <= 3, "{}", appended.count);
    let next = log.next_seq();
    drop(log);
    files.kill();
    let (mut log, recovered) = open(files.another(), settings());
    assert_eq!((recovered.torn_bytes, recovered.damage.len()), (0, 0));
    assert_eq!(read_all(&mut log), (0..next).collect::<Vec<_>>());
}

#[test]
fn smaller_segment_is_used_on_almost_full_disk() {
    let files = FakeFiles::new(4);
    let large = LogSettings { max_bytes: 8 << 20, segment_bytes: 1 << 20, ..settings() };
    let (mut log, _) = open(files.another(), large);
    files.set_capacity(300 << 10);
    append(&mut log, 0..100);
    assert_eq!(files.main_bytes(), 256 << 10);
}

#[test]
fn acks_are_kept_until_disk_has_space() {
    let files = FakeFiles::new(5);
    let (mut log, _) = open(files.another(), settings());
    append(&mut log, 0..20);
    log.sync().unwrap();
    files.set_capacity(0);
    log.acknowledge(0..3);
    log.acknowledge(8..9);
    assert!(log.write_acks().is_err() && log.write_acks().is_err());
    let reported = log.take_events();
    assert!(matches!(
        reported[..],
        [LogEvent::AckWriteFailed { .. }, LogEvent::AckWriteFailed { .. }]
    ));
    assert!(log.is_dirty());
    // Removing a segment needs no space.
    log.acknowledge(3..7);
    let before = segments(&files).len();
    let _ = log.write_acks();
    assert_eq!(segments(&files).len(), before - 1);
    files.set_capacity(u64::MAX);
    log.sync().unwrap();
    assert!(!log.is_dirty());
    drop(log);
    files.crash();
    let (mut log, _) = open(files.another(), settings());
    assert_eq!(read_all(&mut log), [7].into_iter().chain(9..20).collect::<Vec<_>>());
}

#[test]
fn failed_write_continues_in_new_segment() {
    let files = FakeFiles::new(6);
    let (mut log, _) = open(files.another(), settings());
    append(&mut log, 0..2);
    files.fail_writes(1);
    append(&mut log, 2..4);
    assert!(matches!(log.take_events()[..], [LogEvent::SegmentAbandoned { .. }]));
    assert_eq!(segments(&files).len(), 2);
    assert_eq!(read_all(&mut log), [0, 1, 2, 3]);
    // In the new segment as well.
    files.fail_writes(100);
    let appended = log.append(&records(4..6));
    assert!(matches!(appended.stopped, Some(AppendError::Io(LogError::Io { .. }))));
    files.fail_writes(0);
    append(&mut log, 4..6);
    log.sync().unwrap();
    drop(log);
    files.crash();
    let (mut log, recovered) = open(files.another(), settings());
    assert_eq!(recovered.damage, []);
    assert_eq!(read_all(&mut log), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn acked_segment_between_others_is_removed() {
    let files = FakeFiles::new(7);
    let (mut log, _) = open(files.another(), settings());
    append(&mut log, 0..30);
    log.acknowledge(7..14);
    log.sync().unwrap();
    assert!(!files.names().contains(&"00000000000000000007.seg".to_owned()));
    assert!(!files.names().contains(&"00000000000000000007.ack".to_owned()));
    let expected: Vec<_> = (0..7).chain(14..30).collect();
    assert_eq!(read_all(&mut log), expected);
    log.close().unwrap();
    let (mut log, recovered) = open(files.another(), settings());
    assert_eq!(recovered.records, 23);
    assert_eq!(read_all(&mut log), expected);
}

#[test]
fn sequence_numbers_continue_when_log_is_empty() {
    let files = FakeFiles::new(8);
    let (mut log, _) = open(files.another(), settings());
    append(&mut log, 0..30);
    log.acknowledge(0..30);
    log.close().unwrap();
    assert_eq!(files.names(), ["00000000000000000030.seg"]);
    assert_eq!(files.used_bytes(), 64);
    for _ in 0..3 {
        files.crash();
        let (log, recovered) = open(files.another(), settings());
        assert_eq!((recovered.records, log.next_seq()), (0, 30));
        log.close().unwrap();
    }
    let (mut log, _) = open(files.another(), settings());
    append(&mut log, 30..31);
    assert_eq!(read_all(&mut log), [30]);
}

#[test]
fn large_record_has_segment_of_its_size() {
    let files = FakeFiles::new(9);
    let wide = LogSettings { max_bytes: 64 << 20, segment_bytes: 1 << 20, ..settings() };
    let (mut log, _) = open(files.another(), wide.clone());
    let large = record(vec![1; 10 << 20]);
    assert_eq!(log.append(&[record("a"), large.clone(), record("b")]).count, 3);
    let read = log.read(&mut log.cursor(), 10, usize::MAX);
    assert_eq!(read[1], (1, large.clone()));
    let one = log.read(&mut log.cursor(), 10, 1);
    assert_eq!(one.len(), 1, "a read stops when it has enough bytes");
    log.close().unwrap();
    let (mut log, recovered) = open(files.another(), wide);
    assert_eq!(recovered.records, 3);
    assert_eq!(log.read(&mut log.cursor(), 10, usize::MAX)[1].1, large);
    let appended = log.append(&[record(vec![0; 17 << 20])]);
    assert!(matches!(appended.stopped, Some(AppendError::TooLarge)));
    assert!(!log.is_full());
    log.close().unwrap();
    let (mut log, _) = open(FakeFiles::new(9), settings());
    let appended = log.append(&[large]);
    assert!(matches!(appended.stopped, Some(AppendError::TooLarge)), "larger than the log");
}

#[test]
fn stats_follow_appends_and_acknowledgements() {
    let (mut log, _) = open(FakeFiles::new(10), settings());
    assert_eq!(log.stats(), LogStats::default());
    append(&mut log, 0..20);
    let mut late = record("late");
    late.accepted_at_ms += 60_000;
    log.append(&[late]);
    let stats = log.stats();
    assert_eq!((stats.records, stats.segments), (21, 3));
    assert_eq!(stats.oldest_accepted_at_ms, Some(ACCEPTED_AT_MS));
    assert!(stats.bytes > 20_000 && stats.bytes < 22_000, "{}", stats.bytes);
    assert_eq!(stats.unsynced_bytes, stats.bytes % 7_252, "the segment of the newest records");
    log.acknowledge(0..20);
    assert_eq!(log.stats().oldest_accepted_at_ms, Some(ACCEPTED_AT_MS + 60_000));
    log.acknowledge(10..300);
    let stats = log.stats();
    assert_eq!((stats.records, stats.bytes, stats.oldest_accepted_at_ms), (0, 0, None));
}

#[test]
fn files_of_many_segments_are_not_kept_open() {
    let files = FakeFiles::new(11);
    let (mut log, _) = open(files.another(), LogSettings { max_bytes: 4 << 20, ..settings() });
    append(&mut log, 0..400);
    let mut rng = fastrand::Rng::with_seed(11);
    for _ in 0..1_000 {
        let seq = rng.u64(0..400);
        log.acknowledge(seq..seq + 1);
        log.write_acks().unwrap();
        let mut cursor = log.cursor_at(rng.u64(0..400));
        log.read(&mut cursor, 1, 1);
    }
    let (_, most) = files.open_files();
    assert!(most <= 8, "{most}");
}

#[test]
fn ack_file_is_compacted() {
    let files = FakeFiles::new(12);
    let wide = LogSettings { max_bytes: 8 << 20, segment_bytes: 2 << 20, ..settings() };
    let (mut log, _) = open(files.another(), wide.clone());
    let tiny: Vec<_> = (0..20_000).map(|_| record("")).collect();
    assert_eq!(log.append(&tiny).count, 20_000);
    for seq in 0..10_000 {
        log.acknowledge(seq..seq + 1);
        log.write_acks().unwrap();
    }
    assert!(files.contents("00000000000000000000.ack").len() < 100_000);
    log.sync().unwrap();
    drop(log);
    files.crash();
    let (_, recovered) = open(files.another(), wide);
    assert_eq!((recovered.records, recovered.damage), (10_000, vec![]));
}
