//! Damage costs the damaged records only, and is reported and set aside.

use super::*;

const FRAME: usize = 1_036;
const FIRST: &str = "00000000000000000000.seg";

/// Returns a closed log of 20 records in three segments, after changing the first one.
fn damaged(change: impl FnOnce(&mut Vec<u8>)) -> FakeFiles {
    let files = FakeFiles::new(1);
    let (mut log, _) = open(files.another(), settings());
    append(&mut log, 0..20);
    log.close().unwrap();
    let mut contents = files.contents(FIRST);
    change(&mut contents);
    files.set_contents(FIRST, &contents);
    files
}

fn strict_error(files: &FakeFiles) -> Damage {
    let strict = LogSettings { strict: true, ..settings() };
    match Log::open(files.another(), strict) {
        Err(LogError::Damaged(damage)) => damage,
        other => panic!("{other:?}"),
    }
}

fn damages<F: Files>(log: &mut Log<F>) -> Vec<Damage> {
    let damages = log.take_events().into_iter().filter_map(|event| match event {
        LogEvent::Damage(damage) => Some(damage),
        _ => None,
    });
    damages.collect()
}

#[test]
fn damaged_body_costs_one_record() {
    let files = damaged(|contents| contents[64 + 2 * FRAME + 100] ^= 1);
    let expected = Damage {
        file: files.path().join(FIRST),
        offset: 64 + 2 * FRAME as u64,
        bytes: FRAME as u64,
        records: 1,
        cause: Cause::Frame,
    };
    let error = strict_error(&files);
    assert_eq!((error.offset, error.records), (expected.offset, 1));
    let (mut log, recovered) = open(files.another(), settings());
    assert_eq!((recovered.records, recovered.damage.len()), (20, 0));
    assert_eq!(read_all(&mut log), (0..2).chain(3..20).collect::<Vec<_>>());
    assert_eq!(damages(&mut log), std::slice::from_ref(&expected));
    let stats = log.stats();
    assert_eq!((stats.records, stats.damaged_frames, stats.damaged_records), (19, 1, 1));
    let copy = files.contents("damaged/00000000000000000000-2136.bin");
    assert_eq!(copy, files.contents(FIRST)[2_136..][..FRAME]);
    // It is regarded as acknowledged, so it is not reported again and does not keep the segment.
    log.sync().unwrap();
    assert_eq!(read_all(&mut log).len(), 19);
    assert_eq!(damages(&mut log), []);
    log.acknowledge(0..7);
    log.sync().unwrap();
    assert!(!segments(&files).contains(&FIRST.to_owned()));
}

#[test]
fn damaged_frame_header_costs_one_record() {
    let files = damaged(|contents| contents[64 + 2 * FRAME + 13] ^= 0x80);
    let (mut log, _) = open(files.another(), settings());
    assert_eq!(read_all(&mut log), (0..2).chain(3..20).collect::<Vec<_>>());
    let damage = &damages(&mut log)[0];
    assert_eq!((damage.offset, damage.bytes, damage.records), (2_136, FRAME as u64, 1));
}

#[test]
fn overwritten_range_costs_its_records() {
    let files = damaged(|contents| contents[64 + FRAME + 5..64 + 3 * FRAME + 5].fill(0xab));
    let error = strict_error(&files);
    assert_eq!((error.offset, error.records), (64 + FRAME as u64, 3));
    let (mut log, _) = open(files.another(), settings());
    assert_eq!(read_all(&mut log), [0].into_iter().chain(4..20).collect::<Vec<_>>());
    assert_eq!(damages(&mut log)[0].records, 3);
}

#[test]
fn damage_at_end_of_sealed_segment_is_found() {
    let files = damaged(|contents| contents[64 + 6 * FRAME..64 + 7 * FRAME].fill(0));
    assert_eq!(strict_error(&files).records, 1);
    let (mut log, _) = open(files.another(), settings());
    assert_eq!(read_all(&mut log), (0..6).chain(7..20).collect::<Vec<_>>());
    assert_eq!(damages(&mut log)[0].records, 1);
}

#[test]
fn damaged_footer_costs_nothing() {
    let files = damaged(|contents| *contents.last_mut().unwrap() ^= 1);
    let error = strict_error(&files);
    assert_eq!(
        (error.offset, error.records, error.cause),
        (64 + 7 * FRAME as u64, 0, Cause::Footer)
    );
    let (mut log, recovered) = open(files.another(), settings());
    assert_eq!((recovered.records, recovered.torn_bytes), (20, 64));
    assert_eq!(recovered.damage[0].cause, Cause::Footer);
    assert_eq!(read_all(&mut log), (0..20).collect::<Vec<_>>());
    log.close().unwrap();
    assert_eq!(verify(&files).unwrap().damage, [], "the segment was sealed again");
}

#[test]
fn truncated_segment_costs_its_end() {
    let files = damaged(|contents| contents.truncate(64 + 3 * FRAME + 10));
    let error = strict_error(&files);
    assert_eq!((error.records, error.cause), (4, Cause::Missing));
    let (mut log, recovered) = open(files.another(), settings());
    assert_eq!((recovered.records, recovered.damage[0].records), (16, 4));
    assert_eq!(read_all(&mut log), (0..3).chain(7..20).collect::<Vec<_>>());
}

#[test]
fn lost_headers_cost_the_segment() {
    let files = damaged(|contents| {
        contents[..64].fill(0);
        *contents.last_mut().unwrap() ^= 1;
    });
    let error = strict_error(&files);
    assert_eq!((error.offset, error.records, error.cause), (0, 7, Cause::Header));
    let (mut log, recovered) = open(files.another(), settings());
    assert_eq!((recovered.records, recovered.damage[0].records), (13, 7));
    assert_eq!(read_all(&mut log), (7..20).collect::<Vec<_>>());
    assert!(files.names().contains(&format!("damaged/{FIRST}")));
    assert_eq!(inspect(&files).unwrap().damaged_files, 1);
}

#[test]
fn header_without_footer_is_enough() {
    // One intact copy of the header, or the footer.
    for lost in [0..32, 32..64, 0..64] {
        let files = damaged(|contents| contents[lost].fill(0xff));
        let error = strict_error(&files);
        assert_eq!((error.offset, error.records, error.cause), (0, 0, Cause::Header));
        let (mut log, recovered) = open(files.another(), settings());
        assert_eq!((recovered.records, recovered.damage.len()), (20, 0));
        assert_eq!(read_all(&mut log), (0..20).collect::<Vec<_>>());
    }
}

#[test]
fn removed_segment_file_costs_its_records() {
    let files = damaged(|_| {});
    let (mut log, _) = open(files.another(), settings());
    files.another().remove(FIRST).unwrap();
    assert_eq!(read_all(&mut log), (7..20).collect::<Vec<_>>());
    assert_eq!((damages(&mut log)[0].records, log.stats().records), (7, 13));
}

#[test]
fn unreadable_bytes_do_not_stop_the_log() {
    let files = damaged(|_| {});
    let (mut log, _) = open(files.another(), settings());
    files.set_faults(Faults { read: 1.0, ..Faults::default() });
    assert!(read_all(&mut log).is_empty());
    let damages = damages(&mut log);
    assert!(damages.iter().all(|damage| damage.cause == Cause::Unreadable), "{damages:?}");
    assert_eq!(damages.iter().map(|damage| damage.records).sum::<u64>(), 20);
    files.set_faults(Faults::default());
    append(&mut log, 20..22);
    assert_eq!(read_all(&mut log), [20, 21]);
}

#[test]
fn payload_that_looks_like_frame_is_not_read() {
    // A record contains the frame of another record, with the salt of another segment.
    let mut frame = Vec::new();
    record("forged").encode(12_345, 1, &mut frame);
    let files = FakeFiles::new(2);
    let (mut log, _) = open(files.another(), settings());
    let honest: Vec<_> = [frame, b"second".to_vec()].map(record).into();
    assert_eq!(log.append(&honest).count, 2);
    let mut contents = files.contents(FIRST);
    contents[64] ^= 1;
    files.set_contents(FIRST, &contents);
    let read = log.read(&mut log.cursor(), 10, 10_000);
    assert_eq!(read, [(1, record("second"))]);
}

#[test]
fn set_aside_bytes_are_bounded() {
    let files = FakeFiles::new(3);
    let small = LogSettings { max_bytes: 64 << 10, ..settings() };
    let (mut log, _) = open(files.another(), small);
    for round in 0..40 {
        let next = log.next_seq();
        append(&mut log, next..next + 7);
        let name = segments(&files).pop().unwrap();
        let mut contents = files.contents(&name);
        for frame in 0..7 {
            contents[64 + frame * FRAME + 50] ^= 1;
        }
        files.set_contents(&name, &contents);
        assert!(read_all(&mut log).is_empty(), "round {round}");
        log.sync().unwrap();
    }
    assert_eq!(log.stats().damaged_records, 280);
    let set_aside = inspect(&files).unwrap();
    assert_eq!(set_aside.damaged_file_bytes, (64 << 10) / FRAME as u64 * FRAME as u64);
}
