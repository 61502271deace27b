//! Tests on real files in a temporary directory.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use super::*;
use crate::spool::files::DiskFiles;
use crate::spool::format::{Footer, Header};

/// Temporary directory that is removed with its contents.
pub(super) struct Directory(PathBuf);

impl Directory {
    pub(super) fn new(name: &str) -> Self {
        let name = format!("kinesis-sink-spool-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    fn files(&self) -> DiskFiles {
        DiskFiles::new(self.0.join("spool"))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn records_on_disk_survive_dropped_log() {
    let directory = Directory::new("dropped");
    let (mut log, _) = open(directory.files(), settings());
    append(&mut log, 0..40);
    log.acknowledge(5..20);
    log.sync().unwrap();
    append(&mut log, 40..50);
    // The operating system does the same when it ends a process.
    drop(log);
    let (mut log, recovered) = open(directory.files(), settings());
    assert_eq!((recovered.records, recovered.torn_bytes, recovered.damage.len()), (35, 0, 0));
    assert_eq!(read_all(&mut log), (0..5).chain(20..50).collect::<Vec<_>>());
    log.acknowledge(0..50);
    log.close().unwrap();
    let mut names: Vec<_> = fs::read_dir(directory.path().join("spool"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["00000000000000000050.seg", "lock"]);
}

#[test]
fn second_handle_is_refused_with_path() {
    let directory = Directory::new("locked");
    let (log, _) = open(directory.files(), settings());
    let error = Log::open(directory.files(), settings()).expect_err("locked");
    let path = directory.path().join("spool");
    assert!(matches!(&error, LogError::Locked { path: named } if *named == path), "{error}");
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    drop(log);
    // The file remains, as after the death of a process, but is not locked.
    assert!(path.join("lock").exists());
    open(directory.files(), settings()).0.close().unwrap();
    open(directory.files(), settings());
}

#[cfg(unix)]
#[test]
fn files_are_private() {
    use std::os::unix::fs::PermissionsExt;

    let directory = Directory::new("private");
    let nested = directory.path().join("parent/spool");
    let (mut log, _) = open(DiskFiles::new(&nested), settings());
    append(&mut log, 0..20);
    log.acknowledge(0..1);
    log.sync().unwrap();
    let name = nested.join("00000000000000000007.seg");
    let mut contents = fs::read(&name).unwrap();
    contents[200] ^= 1;
    fs::write(&name, contents).unwrap();
    assert_eq!(read_all(&mut log).len(), 18);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&nested), mode(&nested.join("damaged"))), (0o700, 0o700));
    let mut files = 0;
    for directory in [nested.clone(), nested.join("damaged")] {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                assert_eq!(mode(&path), 0o600, "{}", path.display());
                files += 1;
            }
        }
    }
    assert_eq!(files, 6, "three segments, acknowledgements, the lock, and damaged bytes");
}

#[test]
fn large_backlog_opens_quickly() {
    // 20 GB in sparse segments.
    let directory = Directory::new("backlog");
    let path = directory.path().join("spool");
    fs::create_dir(&path).unwrap();
    for index in 0..1_250_u64 {
        let (first, end) = (10_000 * index, (16 << 20) - 64);
        let files = DiskFiles::new(&path);
        let file = files.create(&format!("{first:020}.seg")).unwrap();
        let footer = Footer {
            salt: 1,
            first,
            next: first + 10_000,
            end,
            oldest_accepted_at_ms: ACCEPTED_AT_MS,
        };
        files.write_at(&file, 0, &Header { salt: 1, first }.encode()).unwrap();
        files.write_at(&file, end, &footer.encode()).unwrap();
    }
    let wide =
        LogSettings { max_bytes: 64 << 30, segment_bytes: 16 << 20, strict: false, ..settings() };
    let start = Instant::now();
    let (log, recovered) = open(directory.files(), wide);
    let elapsed = start.elapsed();
    assert_eq!(recovered.records, 12_500_000);
    // It takes 10 to 20 ms. A scan would take minutes.
    assert!(elapsed < Duration::from_secs(5), "{elapsed:?}");
    let index = log.segments.len() * size_of::<Segment>();
    assert!(index < 256 << 10 && log.window.bytes_in_memory() < 1 << 20, "{index}");
}

#[test]
fn missing_directory_cannot_be_inspected() {
    let directory = Directory::new("missing");
    let error = inspect(&directory.files()).expect_err("missing");
    let LogError::Io { action: "list", path, source } = error else { panic!("{error}") };
    assert_eq!(path, directory.path().join("spool"));
    assert_eq!(source.kind(), io::ErrorKind::NotFound);
}

#[test]
fn log_preallocates_and_truncates_segments() {
    let directory = Directory::new("sizes");
    let (mut log, _) = open(directory.files(), settings());
    append(&mut log, 0..10);
    let size = |name: &str| fs::metadata(directory.path().join("spool").join(name)).unwrap().len();
    assert_eq!(size("00000000000000000000.seg"), 64 + 7 * 1_036 + 64);
    assert_eq!(size("00000000000000000007.seg"), 8 << 10);
    let stats = log.stats();
    assert_eq!(stats.disk_bytes, 64 + 7 * 1_036 + 64 + (8 << 10));
}
