//! Flipped bits in random places of segments and acknowledgements.

use super::*;
use crate::spool::files::DiskFiles;

const CASES: u64 = 10_000;

/// Files of a log and the records in it that are not acknowledged.
struct Image {
    files: Vec<(String, Vec<u8>)>,
    unacked: Vec<u64>,
}

/// Returns a log of seven segments with some acknowledgements, whose last segment is sealed or not.
fn image(closes: bool) -> Image {
    let files = FakeFiles::new(1);
    let small = LogSettings { segment_bytes: 2 << 10, ..settings() };
    let (mut log, _) = open(files.another(), small);
    for number in 0..60_u64 {
        let mut data = number.to_le_bytes().to_vec();
        data.resize(8 + 7 * number as usize, b'y');
        assert_eq!(log.append(&[record(data)]).count, 1);
    }
    for seq in [1, 2, 9, 30, 31, 32, 41, 58] {
        log.acknowledge(seq..seq + 1);
        log.write_acks().unwrap();
    }
    log.sync().unwrap();
    let unacked = read_all(&mut log);
    if closes {
        log.close().unwrap();
    }
    let names = files.names().into_iter();
    Image { files: names.map(|name| (name.clone(), files.contents(&name))).collect(), unacked }
}

/// Flips one to three bits of a random file. Returns the name, the contents, and the offsets.
fn flip(image: &Image, rng: &mut fastrand::Rng) -> (String, Vec<u8>, Vec<usize>) {
    let (name, mut contents) = image.files[rng.usize(..image.files.len())].clone();
    let offsets: Vec<_> = (0..rng.usize(1..4)).map(|_| rng.usize(..contents.len())).collect();
    for offset in &offsets {
        contents[*offset] ^= 1 << rng.u8(..8);
    }
    (name, contents, offsets)
}

/// Opens and reads a damaged log, and checks that it loses at most what it reports.
fn check<F: Files>(files: F, image: &Image, case: &str) -> Vec<Damage> {
    let Opened { mut log, recovered } = Log::open(files, settings()).expect(case);
    let read = read_all(&mut log);
    assert!(read.is_sorted(), "{case}");
    let missing = image.unacked.iter().filter(|seq| !read.contains(seq)).count() as u64;
    let damage: Vec<_> = log
        .take_events()
        .into_iter()
        .filter_map(|event| match event {
            LogEvent::Damage(damage) => Some(damage),
            _ => None,
        })
        .collect();
    let reported: u64 = damage.iter().map(|damage| damage.records).sum();
    // The end of the newest segment looks like an incomplete write, which has at least one frame per 44 bytes.
    let torn = recovered.torn_bytes.div_ceil(44);
    assert!(missing <= reported + torn, "{case}: {missing} of {reported} + {torn}");
    assert_eq!(log.stats().damaged_records, reported, "{case}");
    // The log can still be used.
    let next = log.next_seq();
    assert!(next >= 50, "{case}: {next}");
    append(&mut log, next..next + 1);
    log.sync().expect(case);
    log.acknowledge(0..next + 1);
    log.close().expect(case);
    damage
}

#[test]
fn log_survives_flipped_bits() {
    fastrand::seed(1);
    let images = [image(true), image(false)];
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let refused: u64 = std::thread::scope(|scope| {
        let check = |offset| {
            let images = &images;
            let cases = (offset as u64..CASES).step_by(threads);
            move || cases.map(|case| u64::from(check_case(images, case))).sum::<u64>()
        };
        let workers: Vec<_> = (0..threads).map(|offset| scope.spawn(check(offset))).collect();
        workers.into_iter().map(|worker| worker.join().expect("a case failed")).sum()
    });
    assert!(refused > CASES / 2, "{refused}");
}

/// Checks a case and returns whether strict settings refuse the log.
fn check_case(images: &[Image; 2], case: u64) -> bool {
    let mut rng = fastrand::Rng::with_seed(case);
    let image = &images[rng.usize(..2)];
    let (name, contents, offsets) = flip(image, &mut rng);
    let files = FakeFiles::new(case);
    for (name, contents) in &image.files {
        files.set_contents(name, contents);
    }
    files.set_contents(&name, &contents);
    let case = format!("case {case}: bits of {name} at {offsets:?} are flipped");
    let strict = LogSettings { strict: true, ..settings() };
    let verified = match Log::open(files.another(), strict) {
        Err(LogError::Damaged(damage)) => {
            assert_eq!(damage.file, files.path().join(&name), "{case}");
            // Trailing zeros, which a flipped bit can create, do not count as damaged bytes.
            let place = damage.offset..=damage.offset + damage.bytes;
            let named = offsets.iter().any(|offset| place.contains(&(*offset as u64)));
            assert!(named, "{case}: {place:?}");
            false
        }
        Err(error) => panic!("{case}: {error}"),
        // Records before an incomplete write are intact.
        Ok(opened) => {
            drop(opened);
            files.kill();
            for (name, contents) in &image.files {
                files.set_contents(name, contents);
            }
            files.set_contents(&name, &contents);
            true
        }
    };
    let damage = check(files.another(), image, &case);
    assert!(!verified || damage.is_empty(), "{case}: {damage:?}");
    !verified
}

#[test]
fn log_on_disk_survives_flipped_bits() {
    let image = image(true);
    let directory = super::disk::Directory::new("bit-flips");
    for case in 0..100 {
        let mut rng = fastrand::Rng::with_seed(case);
        let (name, contents, _) = flip(&image, &mut rng);
        let path = directory.path().join(case.to_string());
        std::fs::create_dir(&path).unwrap();
        for (name, contents) in &image.files {
            std::fs::write(path.join(name), contents).unwrap();
        }
        std::fs::write(path.join(&name), contents).unwrap();
        check(DiskFiles::new(path), &image, &format!("case {case}"));
    }
}
