//! Properties of the reader of segments, which the fuzz target `spool_segment` checks as well.

use crate::spool::files::{FakeFiles, Files};
use crate::spool::log::{Log, LogError, LogEvent, LogSettings, Opened, verify};

const SEGMENT: &str = "00000000000000000000.seg";
const ACKS: &str = "00000000000000000000.ack";
const HEADER_BYTES: usize = 64;
const FRAME_HEADER_BYTES: usize = 36;
const FOOTER_BYTES: usize = 64;

/// Checks a segment, and possibly its acknowledgements.
///
/// The first byte has flags: 1 corrects the checksums of the segment, so that a fuzzer reaches the code behind them, and
/// 2 splits the rest into segment and acknowledgements, at the offset in the next two bytes. 4 adds a later segment.
pub(crate) fn check(input: &[u8]) {
    let Some((flags, rest)) = input.split_first() else { return };
    let (segment, acks) = match rest.split_first_chunk() {
        Some((at, rest)) if flags & 2 != 0 => {
            rest.split_at(usize::from(u16::from_le_bytes(*at)).min(rest.len()))
        }
        _ => (rest, [].as_slice()),
    };
    let mut segment = segment.to_vec();
    if flags & 1 != 0 {
        correct_checksums(&mut segment);
    }
    let files = FakeFiles::new(0);
    files.set_contents(SEGMENT, &segment);
    if !acks.is_empty() {
        files.set_contents(ACKS, acks);
    }
    if flags & 4 != 0 {
        files.set_contents(&SEGMENT.replace("00.seg", "09.seg"), &[]);
    }
    check_files(&files);
}

fn settings(strict: bool) -> LogSettings {
    LogSettings { max_bytes: 1 << 20, segment_bytes: 64 << 10, keeps_unsynced: true, strict }
}

fn check_files(files: &FakeFiles) {
    let verified = match verify(files) {
        Ok(info) => info,
        Err(LogError::Version { .. }) => return,
        Err(error) => panic!("{error}"),
    };
    let Opened { mut log, recovered } = Log::open(files.another(), settings(false)).expect("opens");
    let records = read_all(&mut log);
    let lost: u64 = log.take_events().iter().map(damaged_records).sum();
    let lost_before: u64 = recovered.damage.iter().map(|damage| damage.records).sum();
    assert_eq!(records.len() as u64 + lost - lost_before, recovered.records);
    if verified.damage.is_empty() {
        assert_eq!(lost, 0);
        assert_eq!(verified.records, recovered.records);
    }
    log.close().expect("closes");
    // After the repair, the same records are found.
    let Opened { mut log, recovered } = Log::open(files.another(), settings(false)).expect("opens");
    assert_eq!((recovered.records, recovered.torn_bytes), (records.len() as u64, 0));
    assert_eq!(read_all(&mut log), records);
}

fn damaged_records(event: &LogEvent) -> u64 {
    if let LogEvent::Damage(damage) = event { damage.records } else { 0 }
}

/// Returns the sequence numbers and sizes of all records.
fn read_all<F: Files>(log: &mut Log<F>) -> Vec<(u64, usize)> {
    let mut cursor = log.cursor();
    let mut records = Vec::new();
    loop {
        let read = log.read(&mut cursor, 7, 10_000);
        if read.is_empty() {
            assert!(records.is_sorted_by(|(a, _), (b, _)| a < b));
            return records;
        }
        records.extend(read.into_iter().map(|(seq, found)| (seq, found.record.size())));
    }
}

/// Replaces the checksums of header, frames, and footer by the correct ones.
fn correct_checksums(segment: &mut [u8]) {
    if segment.len() < HEADER_BYTES {
        return;
    }
    let (header, frames) = segment.split_at_mut(HEADER_BYTES);
    for copy in header.chunks_exact_mut(32) {
        let crc = crc32c::crc32c(&copy[..28]);
        copy[28..].copy_from_slice(&crc.to_le_bytes());
    }
    let number = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().expect("four bytes"));
    let salt = number(&header[12..16]);
    let mut at = 0;
    while let Some(rest) = frames.get_mut(at..).filter(|rest| rest.len() >= FRAME_HEADER_BYTES) {
        if !rest.starts_with(b"KSf1") {
            at += 1;
            continue;
        }
        let (header, body) = rest.split_at_mut(FRAME_HEADER_BYTES);
        let length = (number(&header[12..16]) as usize).min(body.len());
        header[8..12].copy_from_slice(&crc32c::crc32c_append(salt, &body[..length]).to_le_bytes());
        let crc = crc32c::crc32c_append(salt, &header[8..]);
        header[4..8].copy_from_slice(&crc.to_le_bytes());
        at += FRAME_HEADER_BYTES + length;
    }
    if let Some(at) = frames.len().checked_sub(FOOTER_BYTES)
        && frames[at..].starts_with(b"KSsealed")
    {
        let crc = crc32c::crc32c(&frames[at..at + 60]);
        frames[at + 60..].copy_from_slice(&crc.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;
    use crate::record::{PartitionKey, Record};
    use crate::spool::log::SpooledRecord;

    fn corpus() -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/spool_segment")
    }

    #[test]
    fn corpus_of_segments_is_handled() {
        // The corpus is not part of the published package.
        let Ok(inputs) = fs::read_dir(corpus()) else { return };
        let mut count = 0;
        for input in inputs {
            check(&fs::read(input.unwrap().path()).unwrap());
            count += 1;
        }
        assert!(count >= 8, "{count}");
    }

    #[test]
    fn changed_segments_are_handled() {
        for seed in 0..1_000 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let inputs = inputs();
            let (_, mut input) = inputs[rng.usize(..inputs.len())].clone();
            for _ in 0..rng.usize(..6) {
                let at = rng.usize(..input.len());
                match rng.u8(..4) {
                    0 => input[at] = rng.u8(..),
                    1 => input[at] ^= 1 << rng.u8(..8),
                    2 => input.truncate(at.max(1)),
                    _ => {
                        let part = input[at..(at + 100).min(input.len())].to_vec();
                        let to = rng.usize(..input.len());
                        input.splice(to..to, part);
                    }
                }
            }
            input[0] = input[0] & !1 | u8::from(rng.bool());
            check(&input);
        }
    }

    /// Returns valid segments, sealed and not, with and without acknowledgements.
    fn inputs() -> Vec<(&'static str, Vec<u8>)> {
        fastrand::seed(7);
        let files = FakeFiles::new(7);
        let opened = Log::open(files.another(), settings(false)).expect("opens");
        let mut log = opened.log;
        let record = |record| SpooledRecord { record, accepted_at_ms: 1_760_000_000_000 };
        let records = [
            record(Record::from(("key", "explicit key"))),
            record(Record::new("random key")),
            record(Record::new("managed").with_partition_key(PartitionKey::ServiceManaged)),
            record(Record::from(("placed", "hash key")).with_explicit_hash_key(7_u128)),
            record(Record::new("")),
            record(Record::new(vec![b'z'; 300])),
        ];
        assert_eq!(log.append(&records).count, 6);
        log.acknowledge(1..3);
        log.write_acks().expect("writes");
        log.acknowledge(5..6);
        log.write_acks().expect("writes");
        let mut unsealed = files.contents(SEGMENT);
        unsealed.truncate(1_000);
        let acks = files.contents(ACKS);
        log.close().expect("closes");
        let sealed = files.contents(SEGMENT);
        let with_acks = |segment: &[u8], flags: u8| {
            let at = u16::try_from(segment.len()).expect("a small segment");
            [&[flags][..], &at.to_le_bytes(), segment, &acks].concat()
        };
        let plain = |segment: &[u8], flags: u8| [&[flags], segment].concat();
        let mut damaged = sealed.clone();
        damaged[150] ^= 4;
        vec![
            ("sealed", plain(&sealed, 0)),
            ("sealed-corrected", plain(&sealed, 1)),
            ("sealed-acks", with_acks(&sealed, 3)),
            ("unsealed", plain(&unsealed, 1)),
            ("unsealed-acks", with_acks(&unsealed, 2)),
            ("unsealed-older", plain(&unsealed, 5)),
            ("torn", plain(&unsealed[..400], 1)),
            ("damaged", plain(&damaged, 0)),
            ("header", plain(&sealed[..64], 1)),
            ("empty", vec![0]),
        ]
    }

    /// Writes the initial corpus: `cargo test --lib write_corpus -- --ignored`.
    #[test]
    #[ignore = "writes files"]
    fn write_corpus_of_segments() {
        fs::create_dir_all(corpus()).unwrap();
        for (name, input) in inputs() {
            fs::write(corpus().join(name), input).unwrap();
        }
    }
}
