//! Tests that kill and interrupt the examples `checkpoint` and `fan_in`, and that run them with invalid input.
#![cfg(feature = "aws-config")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use bytes::Bytes;

use crate::support::embedded::{Embedded, STREAM};
use crate::support::example_program;
use crate::support::read_back::{From, ReadBack};

/// Temporary directory that is removed on drop.
struct Directory(PathBuf);

impl Directory {
    fn new(test: &str) -> Self {
        let name = format!("kinesis-sink-{test}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

fn checkpoint(server: &Embedded, file: &Path, checkpoint: &Path) -> Command {
    let mut command = example_program::example("checkpoint");
    command.arg("--file").arg(file).arg("--checkpoint").arg(checkpoint);
    command.args(["--endpoint", server.endpoint(), "--region", "us-east-1"]);
    command.env("AWS_ACCESS_KEY_ID", "x").env("AWS_SECRET_ACCESS_KEY", "y");
    command
}

fn stored(checkpoint: &Path) -> u64 {
    std::fs::read_to_string(checkpoint).map_or(0, |text| text.trim().parse().unwrap())
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

async fn output(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().expect("the example is built"))
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_process_resumes_at_checkpoint() {
    const LINES: u64 = 14_000;
    let server = Embedded::start(2, true).await.unwrap();
    let mut read_back = ReadBack::begin(server.client(), STREAM, From::Start).await.unwrap();
    let directory = Directory::new("killed");
    let lines: Vec<_> = (0..LINES).map(|number| format!("line {number}")).collect();
    let file = directory.file("lines", &(lines.join("\n") + "\n"));
    let store = directory.0.join("checkpoint");
    for line in &lines {
        read_back.expect(Bytes::from(line.clone()));
    }

    let mut rng = fastrand::Rng::with_seed(5);
    let mut stored_at_kills = Vec::new();
    for kill in 1..=6 {
        let start = stored(&store);
        let mut command = checkpoint(&server, &file, &store);
        let mut process = Running(command.stdout(Stdio::null()).spawn().unwrap());
        if kill % 3 == 0 {
            // At this time, the process might be starting, reading, or sending its first lines.
            tokio::time::sleep(Duration::from_millis(rng.u64(0..300))).await;
        } else {
            while stored(&store) < start + LINES / 40 {
                assert!(process.0.try_wait().unwrap().is_none(), "the process is running");
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        process.0.kill().unwrap();
        process.0.wait().unwrap();
        let delivered = stored(&store);
        let mut lines_so_far = ReadBack::begin(server.client(), STREAM, From::Start).await.unwrap();
        for line in &lines[..delivered as usize] {
            lines_so_far.expect(Bytes::from(line.clone()));
        }
        assert_eq!(lines_so_far.finish().await.unwrap().missing, 0, "first {delivered} lines");
        stored_at_kills.push(delivered);
    }
    assert!(stored_at_kills.is_sorted(), "{stored_at_kills:?}");
    assert!(*stored_at_kills.last().unwrap() < LINES, "the last kill is before the end");
    let last = output(checkpoint(&server, &file, &store)).await;
    let stdout = String::from_utf8_lossy(&last.stdout);
    assert!(last.status.success(), "{}", String::from_utf8_lossy(&last.stderr));
    let resumed = format!("lines {} to {LINES} delivered", stored_at_kills[5]);
    assert_eq!(stdout.trim(), resumed, "the process resumes at the checkpoint");
    assert_eq!(stored(&store), LINES);
    let found = read_back.finish().await.unwrap();
    assert_eq!((found.records, found.missing), (LINES as usize, 0));
    assert!(found.duplicated > 0, "lines in flight at a kill are sent again");

    let again = output(checkpoint(&server, &file, &store)).await;
    assert!(again.status.success(), "a run without remaining lines succeeds");
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoint_stops_at_oversize_line() {
    let server = Embedded::start(1, false).await.unwrap();
    let directory = Directory::new("stopped");
    let store = directory.0.join("checkpoint");
    let long = "x".repeat(1_100_000);
    let file = directory.file("lines", &format!("one\ntwo\n{long}\nfour\n"));
    let output = output(checkpoint(&server, &file, &store)).await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(stderr.contains("the first 2 lines are delivered"), "{stderr}");
    assert!(stderr.contains("record is 11000"), "{stderr}");
    assert_eq!(stored(&store), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_checkpoint_is_rejected() {
    let server = Embedded::start(1, false).await.unwrap();
    let directory = Directory::new("misfit");
    let file = directory.file("lines", "one\ntwo\n");
    for (text, expected) in [("three", "must contain one number"), ("3\n", "has only 2 of 3 lines")]
    {
        let store = directory.file("checkpoint", text);
        let output = output(checkpoint(&server, &file, &store)).await;
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && stderr.contains(expected), "{stderr}");
        assert_eq!(std::fs::read_to_string(store).unwrap(), text, "the checkpoint is unchanged");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoint_demo_does_not_lose_lines() {
    let mut command = example_program::example("checkpoint");
    command.args(["--lines", "2000", "--kills", "1"]);
    let output = output(command).await;
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{stdout}{}", String::from_utf8_lossy(&output.stderr));
    assert!(stdout.contains("in 2 runs; read back 2000, 0 missing"), "{stdout}");
}

#[test]
fn fan_in_drains_when_interrupted() {
    let mut command = example_program::example("fan_in");
    command.args(["--sensors", "50", "--seconds", "600"]).stdout(Stdio::piped());
    let mut process = Running(command.spawn().unwrap());
    let mut lines = BufReader::new(process.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let progress = lines.find(|line| line.contains("accepted") && !line.starts_with("0 "));
    assert!(progress.is_some(), "progress is printed");
    let interrupted = Command::new("kill").args(["-INT", &process.0.id().to_string()]).status();
    assert!(interrupted.unwrap().success());
    let rest: Vec<_> = lines.collect();
    assert!(process.0.wait().unwrap().success(), "{rest:#?}");
    let [.., draining, summary, found] = &rest[..] else { panic!("{rest:#?}") };
    assert_eq!(draining, "interrupted, draining");
    assert!(summary.contains(" readings delivered in "), "{summary}");
    assert!(summary.contains(" 0 undelivered;"), "{summary}");
    assert!(found.ends_with(" 0 missing, 0 duplicated"), "{found}");
    let delivered = summary.split(' ').next().unwrap();
    assert!(found.starts_with(&format!("read back {delivered}, ")), "{summary}; {found}");
}

#[test]
fn fan_in_reports_unreachable_endpoint() {
    let arguments = ["--endpoint", "http://127.0.0.1:1", "--region", "us-east-1"];
    let mut command = example_program::example("fan_in");
    command.args(arguments).env("AWS_ACCESS_KEY_ID", "x").env("AWS_SECRET_ACCESS_KEY", "y");
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.contains("the endpoint cannot be reached"), "{stderr}");
}
