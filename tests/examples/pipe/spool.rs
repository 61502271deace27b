//! Tests of `pipe --spool`, whose records survive a kill, and of the modes that look into a spool.
#![cfg(unix)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kinesis_sink::spool::Spool;

use super::server::{Entry, EntryOutcome, Server};
use super::shutdown::wait_until;
use super::{DeadLetterFile, Exit, Pipe};
use crate::support::example_program;
use crate::support::small_disk::TempDir;

/// A spool, and a server that accepts records while a flag is set.
struct Rig {
    server: Server,
    accepts: Arc<AtomicBool>,
    directory: TempDir,
}

impl Rig {
    fn new(test: &str) -> Self {
        let accepts = Arc::new(AtomicBool::new(false));
        let server = Server::start({
            let accepts = accepts.clone();
            move |_: &Entry| {
                if accepts.load(Ordering::Relaxed) {
                    EntryOutcome::Delivered
                } else {
                    EntryOutcome::Failed("InternalFailure")
                }
            }
        });
        Self { server, accepts, directory: TempDir::new(&format!("pipe-spool-{test}")) }
    }

    fn accept(&self) {
        self.accepts.store(true, Ordering::Relaxed);
    }

    /// Path of the spool, which `pipe` creates.
    fn path(&self) -> PathBuf {
        self.directory.path().join("spool")
    }

    fn pipe(&self, options: &[&str]) -> Pipe {
        let path = self.path();
        let spool = ["--spool", path.to_str().unwrap()];
        Pipe::to(&self.server.endpoint, &[&spool[..], options].concat())
    }

    fn drain(&self, options: &[&str]) -> Exit {
        let path = self.path();
        let drain = ["--spool-drain", path.to_str().unwrap()];
        Pipe::to(&self.server.endpoint, &[&drain[..], options].concat()).wait()
    }

    /// Number of records in the spool.
    fn spooled(&self) -> u64 {
        if self.path().exists() { Spool::at(self.path()).inspect().unwrap().records } else { 0 }
    }

    /// Leaves lines in the spool, as an outage does.
    fn fill(&self, input: &[u8], records: u64, options: &[&str]) {
        let mut pipe = self.pipe(options);
        let mut stdin = pipe.input();
        stdin.write_all(input).unwrap();
        wait_until(|| self.spooled() == records);
        pipe.signal("-TERM");
        pipe.wait().expect(143, &[&format!("{records} records are left in ")]);
    }
}

fn lines(numbers: std::ops::Range<u32>) -> String {
    numbers.map(|number| format!("{}\tline {number:05}\n", number % 7)).collect()
}

fn expected(numbers: std::ops::Range<u32>) -> Vec<(String, String)> {
    let mut expected: Vec<_> =
        lines(numbers).lines().map(|line| (line[..1].to_owned(), line.to_owned())).collect();
    expected.sort_unstable();
    expected
}

fn delivered(server: &Server) -> Vec<(String, String)> {
    let mut delivered = server.delivered_with_keys();
    delivered.sort_unstable();
    delivered
}

/// Runs a mode that prints a table.
fn show(mode: &str, directory: &Path) -> (Option<i32>, String, String) {
    let mut command = example_program::example("pipe");
    let Output { status, stdout, stderr } = command.arg(mode).arg(directory).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn spooled_records_survive_kill() {
    let rig = Rig::new("kill");
    let options = ["--key-field", "1", "--ordering", "per-key"];
    let mut pipe = rig.pipe(&options);
    let mut input = pipe.input();
    input.write_all(lines(0..500).as_bytes()).unwrap();
    wait_until(|| rig.spooled() == 500);
    pipe.0.kill().unwrap();
    pipe.0.wait().unwrap();
    assert_eq!(rig.server.delivered().len(), 0);

    rig.accept();
    let messages = ["500 records recovered from ", "600 records delivered"];
    rig.pipe(&options).run(lines(500..600)).expect(0, &messages);
    assert_eq!(delivered(&rig.server), expected(0..600));
    for key in 0..7 {
        let records = rig.server.delivered_with_keys().into_iter();
        let of_key = records.filter(|(of, _)| *of == key.to_string()).map(|(_, data)| data);
        assert!(of_key.is_sorted(), "recovered records are sent first, in order");
    }
    assert_eq!(rig.spooled(), 0);
}

#[test]
fn delivered_records_are_not_sent_again() {
    let rig = Rig::new("acknowledged");
    rig.accept();
    let mut pipe = rig.pipe(&["--key-field", "1"]);
    let mut input = pipe.input();
    input.write_all(lines(0..500).as_bytes()).unwrap();
    // Acknowledgements are written within 100 ms.
    wait_until(|| rig.server.delivered().len() == 500 && rig.spooled() == 0);
    pipe.0.kill().unwrap();
    pipe.0.wait().unwrap();
    let exit = rig.pipe(&["--key-field", "1"]).run("7\tlast\n").expect(0, &["1 records delivered"]);
    assert!(!exit.stderr.contains("recovered"), "{}", exit.stderr);
    assert_eq!(rig.server.delivered().len(), 501);
}

#[test]
fn end_of_input_delivers_everything() {
    let rig = Rig::new("end");
    rig.accept();
    for sync in ["always", "interval", "never"] {
        let exit = rig.pipe(&["--spool-sync", sync]).run(lines(0..1_000));
        exit.expect(0, &["1000 records delivered"]);
    }
    assert_eq!(rig.server.delivered().len(), 3_000);
    assert_eq!(rig.spooled(), 0);
}

#[test]
fn signal_leaves_records_in_spool() {
    let rig = Rig::new("signal");
    for (signal, status) in [("-INT", 130), ("-TERM", 143)] {
        let before = rig.spooled();
        let mut pipe = rig.pipe(&["--key-field", "1"]);
        let mut input = pipe.input();
        input.write_all(lines(0..50).as_bytes()).unwrap();
        wait_until(|| rig.spooled() == before + 50);
        pipe.signal(signal);
        let left = format!("{} records are left in {}", before + 50, rig.path().display());
        let exit = pipe.wait().expect(status, &[&left, "--spool-drain"]);
        assert!(!exit.stderr.contains("not delivered"), "{}", exit.stderr);
    }
    rig.accept();
    let exit = rig.drain(&[]).expect(0, &["100 records recovered from", "100 records delivered"]);
    assert!(exit.stderr.contains("0 records, 0 bytes read"), "{}", exit.stderr);
    assert_eq!(rig.spooled(), 0);
    rig.drain(&[]).expect(0, &["0 records delivered"]);
}

#[test]
fn signal_after_end_of_input_leaves_records() {
    let rig = Rig::new("signal-at-end");
    let mut pipe = rig.pipe(&[]);
    pipe.input().write_all(b"one\ntwo\n").unwrap();
    wait_until(|| rig.server.requests() > 0 && rig.spooled() == 2);
    pipe.signal("-INT");
    pipe.wait().expect(130, &["2 records are left in "]);
}

#[test]
fn refused_requests_leave_records_in_spool() {
    let rig = Rig::new("refused");
    let server = Server::start(|_: &Entry| EntryOutcome::RequestRefused("AccessDeniedException"));
    let path = rig.path();
    let mut pipe = Pipe::to(&server.endpoint, &["--spool", path.to_str().unwrap()]);
    let mut input = pipe.input();
    input.write_all(b"one\ntwo\n").unwrap();
    let messages = ["refuses all requests", "2 records are left in "];
    pipe.wait().expect(1, &messages);
    rig.accept();
    rig.drain(&[]).expect(0, &["2 records delivered"]);
}

#[test]
fn full_spool_stops_reading() {
    let rig = Rig::new("full");
    let mut pipe = rig.pipe(&["--spool-max-bytes", "1048576"]);
    let mut input = pipe.input();
    // More than the spool, the buffers in memory, and the pipe hold.
    let line = "x".repeat(50_000) + "\n";
    let writer = std::thread::spawn(move || {
        for _ in 0..400 {
            input.write_all(line.as_bytes()).unwrap();
        }
    });
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert!(!writer.is_finished(), "20 MB are read into a spool of 1 MiB");
    let info = Spool::at(rig.path()).inspect().unwrap();
    assert!(info.disk_bytes <= 1 << 20, "{} bytes on disk", info.disk_bytes);
    assert!(info.records > 0);
    rig.accept();
    writer.join().unwrap();
    pipe.wait().expect(0, &["400 records delivered"]);
    assert_eq!(rig.server.delivered().len(), 400);
}

#[test]
fn failed_record_goes_to_dead_letter_file() {
    let rig = Rig::new("dead-letters");
    let server = Server::start(|entry: &Entry| {
        if entry.data.starts_with(b"bad") {
            EntryOutcome::Failed("InvalidArgumentException")
        } else {
            EntryOutcome::Delivered
        }
    });
    let path = rig.path();
    let dead_letters = DeadLetterFile::new("spooled");
    let options = ["--spool", path.to_str().unwrap(), "--dead-letter", dead_letters.path()];
    let exit = Pipe::to(&server.endpoint, &options).run("one\nbad\ntwo\n");
    exit.expect(3, &["2 records delivered", "1 records were written to "]);
    assert_eq!(dead_letters.read()[0]["data"], "bad");
    assert_eq!(rig.spooled(), 0, "the file has the record now");
}

#[test]
fn second_process_reports_locked_spool() {
    let rig = Rig::new("locked");
    let mut first = rig.pipe(&[]);
    let mut input = first.input();
    input.write_all(b"one\n").unwrap();
    wait_until(|| rig.spooled() == 1);
    let path = rig.path().display().to_string();
    for option in ["--spool", "--spool-drain"] {
        let second = Pipe::to(&rig.server.endpoint, &[option, &path]);
        second.run("two\n").expect(1, &["error: ", &path, "used by another process"]);
    }
    // Looking into the spool needs no lock.
    let (status, table, stderr) = show("--spool-info", &rig.path());
    assert_eq!(status, Some(0), "{stderr}");
    assert!(table.contains("undelivered       1 records"), "{table}");
    // The lock of a process that was killed does not block.
    first.0.kill().unwrap();
    first.0.wait().unwrap();
    rig.accept();
    rig.drain(&[]).expect(0, &["1 records delivered"]);
}

#[test]
fn spool_info_shows_contents() {
    let rig = Rig::new("info");
    rig.fill(lines(0..30).as_bytes(), 30, &[]);
    for mode in ["--spool-info", "--spool-verify"] {
        let (status, table, stderr) = show(mode, &rig.path());
        assert_eq!((status, &*stderr), (Some(0), ""), "{table}");
        assert!(table.contains("undelivered       30 records"), "{table}");
        assert!(table.contains("accepted so far   30 records"), "{table}");
        assert!(!table.contains("line 000"), "payloads are not shown: {table}");
    }
    rig.accept();
    rig.drain(&[]).expect(0, &["30 records delivered"]);
    let (_, table, _) = show("--spool-info", &rig.path());
    assert!(table.contains("undelivered       0 records"), "{table}");
    assert!(table.contains("accepted so far   30 records"), "numbers are not reused: {table}");

    let (status, table, stderr) = show("--spool-info", &rig.path().join("none"));
    assert_eq!((status, &*table), (Some(1), ""), "{stderr}");
    assert!(stderr.contains("error: ") && stderr.contains("none"), "{stderr}");
}

#[test]
fn damaged_record_does_not_stop_the_others() {
    let rig = Rig::new("damaged");
    rig.fill(lines(0..30).as_bytes(), 30, &[]);
    let files = std::fs::read_dir(rig.path()).unwrap().map(|entry| entry.unwrap().path());
    let is_segment = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "seg");
    let mut damaged = 0;
    for path in files.filter(is_segment) {
        let mut bytes = std::fs::read(&path).unwrap();
        if let Some(at) = memchr::memmem::find(&bytes, b"line 00017") {
            bytes[at] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            damaged += 1;
        }
    }
    assert_eq!(damaged, 1);
    let (status, table, stderr) = show("--spool-verify", &rig.path());
    assert_eq!(status, Some(3), "{table}{stderr}");
    assert!(table.contains(".seg at byte ") && table.contains("1 records lost"), "{table}");

    rig.accept();
    let messages = ["29 records delivered", "the spool was damaged in 1 places"];
    rig.drain(&[]).expect(3, &messages);
    assert!(!rig.server.delivered().iter().any(|line| line.contains("line 00017")));
    let (status, table, stderr) = show("--spool-verify", &rig.path());
    assert_eq!(status, Some(0), "{table}{stderr}");
    assert!(table.contains("set aside         1 files"), "{table}");
}

#[test]
fn invalid_spool_options_report_fix() {
    let wrong = |options: &[&str], message: &str| {
        Pipe::embedded(options).run("").expect(2, &[message]);
    };
    wrong(&["--spool", "/tmp/x"], "--spool needs a stream: give --stream");
    wrong(&["--spool", "/tmp/x", "--spool-info", "/tmp/x"], "cannot be used with");
    let rig = Rig::new("options");
    rig.pipe(&["--spool-max-bytes", "1000"]).run("one\n").expect(1, &["max_bytes is 1000B"]);
    let pipe = Pipe::to(&rig.server.endpoint, &["--spool", "/proc/none/spool"]);
    pipe.run("one\n").expect(1, &["error: ", "/proc/none/spool"]);
}
