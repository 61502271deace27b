use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kinesis_sink::sim::{Faults, Latency, SimStream};
use kinesis_sink::spool::Spool;
use kinesis_sink::{KinesisSink, Producer, Record, SinkBuilder};

use crate::support::mock_service::{text, unpaced};

/// Directory that is removed when it is dropped.
pub struct Directory(PathBuf);

impl Directory {
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name =
            format!("kinesis-sink-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// Returns the path of the spool, which need not exist.
    pub fn path(&self) -> PathBuf {
        self.0.join("spool")
    }

    /// Returns a copy of the files as they are now. If the process was killed now, the next one would find these files.
    pub fn image(&self) -> Self {
        let image = Self::new();
        copy(&self.0, &image.0);
        image
    }

    pub fn spool(&self) -> Spool {
        Spool::at(self.path()).with_segment_bytes(256 << 10)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // The thread of a spool can still remove files.
        for _ in 0..100 {
            if fs::remove_dir_all(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&target).unwrap();
            copy(&entry.path(), &target);
        } else if let Err(error) = fs::copy(entry.path(), &target) {
            // A segment can be removed while the files are copied.
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{error}");
        }
    }
}

/// Returns a stream with a short latency and without a quota.
pub fn stream() -> SimStream {
    let latency = Latency::constant(Duration::from_millis(2));
    let builder = SimStream::builder().with_shards(2).with_latency(latency);
    builder.with_shard_quota(1_000_000, 1 << 30).build().unwrap()
}

pub fn outage() -> Faults {
    Faults::default().with_outage("ServiceUnavailable", 503)
}

/// Returns a stream to which every request fails.
pub fn stream_in_outage() -> SimStream {
    let stream = stream();
    stream.set_faults(outage());
    stream
}

pub fn builder() -> SinkBuilder {
    KinesisSink::builder("example").configure(|settings| {
        settings.seed = Some(1);
        settings.limits = unpaced();
        settings.backoff.base = Duration::from_millis(5);
        settings.backoff.ceiling = Duration::from_millis(10);
    })
}

pub fn produce(stream: &SimStream, spool: Spool) -> Producer {
    produce_with(builder(), stream, spool)
}

pub fn produce_with(builder: SinkBuilder, stream: &SimStream, spool: Spool) -> Producer {
    builder.with_spool(spool).build_with(stream.service()).unwrap().spawn()
}

pub fn record(data: impl ToString) -> Record {
    Record::from(("key", data.to_string()))
}

/// Returns the data of the records in the stream, in the order in which they were written.
pub fn written(stream: &SimStream) -> Vec<String> {
    stream.written().iter().map(|written| text(written.data())).collect()
}

/// Returns the data of the records in the stream, sorted and without duplicates.
pub fn distinct(stream: &SimStream) -> Vec<String> {
    let mut written = written(stream);
    written.sort();
    written.dedup();
    written
}

/// Returns the numbers of a range as sorted strings.
pub fn sorted(range: std::ops::Range<usize>) -> Vec<String> {
    let mut numbers: Vec<_> = range.map(|number| number.to_string()).collect();
    numbers.sort();
    numbers
}

/// Waits until `condition` returns a value. Panics after 30 s.
pub async fn eventually<T>(mut condition: impl FnMut() -> Option<T>) -> T {
    let started = std::time::Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "the condition is not met");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Fails if the future does not complete within 30 s.
pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("completes within 30 s")
}
