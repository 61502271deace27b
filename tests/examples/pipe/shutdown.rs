//! Tests of how `pipe` shuts down when the input ends and when it receives signals.
#![cfg(unix)]

use std::io::{BufRead, BufReader, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::server::{EntryOutcome, Server};
use super::{DeadLetterFile, Pipe, TIMEOUT};

pub fn wait_until(mut condition: impl FnMut() -> bool) {
    let latest = Instant::now() + TIMEOUT;
    while !condition() {
        assert!(Instant::now() < latest, "timed out");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn read_stderr_until(pipe: &mut Pipe, text: &str, then: impl FnOnce()) -> String {
    let mut stderr = BufReader::new(pipe.0.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains(text) {
        line.clear();
        assert!(stderr.read_line(&mut line).unwrap() > 0, "stderr does not contain {text:?}");
    }
    then();
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    rest
}

#[test]
fn first_signal_drains_read_records() {
    for (signal, word, status) in [("-INT", "interrupted", 130), ("-TERM", "terminated", 143)] {
        let accepts = Arc::new(AtomicBool::new(false));
        let server = Server::start({
            let accepts = accepts.clone();
            move |_| {
                if accepts.load(Ordering::Relaxed) {
                    EntryOutcome::Delivered
                } else {
                    EntryOutcome::Failed("InternalFailure")
                }
            }
        });
        let mut pipe = Pipe::to(&server.endpoint, &[]);
        // Only the signal can stop the program, because the input stays open.
        let mut input = pipe.input();
        input.write_all(b"one\ntwo\n").unwrap();
        wait_until(|| server.requests() > 0);
        pipe.signal(signal);
        let draining = format!("{word}: sending the records read so far; a second signal aborts");
        let stderr =
            read_stderr_until(&mut pipe, &draining, || accepts.store(true, Ordering::Relaxed));
        assert_eq!(pipe.0.wait().unwrap().code(), Some(status), "{stderr}");
        assert!(stderr.contains("2 records delivered"), "{stderr}");
        assert!(stderr.contains("reading stopped after 2 lines"), "{stderr}");
        assert!(!stderr.contains("not delivered"), "{stderr}");
    }
}

#[test]
fn second_signal_aborts_and_reports_rest() {
    let no_response = |_: &_| EntryOutcome::NoResponse;
    for (with_file, quiet) in [(true, false), (false, false), (false, true)] {
        let server = Server::start(no_response);
        let dead_letters = DeadLetterFile::new("aborted");
        let mut options = vec!["--buffer-records", "3"];
        if quiet {
            options.push("--quiet");
        }
        if with_file {
            options.extend(["--dead-letter", dead_letters.path()]);
        }
        let mut pipe = Pipe::to(&server.endpoint, &options);
        let mut input = pipe.input();
        input.write_all(b"1\n2\n3\n4\n5\n").unwrap();
        wait_until(|| server.requests() > 0);
        pipe.signal("-INT");
        let signals = std::thread::spawn({
            let pid = pipe.0.id().to_string();
            move || {
                std::thread::sleep(Duration::from_millis(300));
                std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap();
            }
        });
        let (status, stderr) = if quiet {
            let exit = pipe.wait();
            (exit.status, exit.stderr)
        } else {
            let stderr =
                read_stderr_until(&mut pipe, "interrupted: sending the records read so far", || ());
            (pipe.0.wait().unwrap().code(), stderr)
        };
        signals.join().unwrap();
        assert_eq!(status, Some(130), "{stderr}");
        assert!(
            stderr.contains("reading stopped after 3 lines"),
            "reads only as much as the buffer holds: {stderr}"
        );
        assert_eq!(stderr.contains("0 records delivered"), !quiet, "{stderr}");
        if with_file {
            assert!(stderr.contains("3 records were written to"), "{stderr}");
            let dead_letters = dead_letters.read();
            let data: Vec<_> =
                dead_letters.iter().map(|letter| letter["data"].as_str().unwrap()).collect();
            assert_eq!(data, ["1", "2", "3"]);
            assert!(dead_letters.iter().all(|letter| letter["reason"] == "withdrawn"));
            assert!(dead_letters.iter().any(|letter| letter["may_have_been_written"] == true));
        } else {
            assert!(stderr.contains("3 records were read and not delivered, "), "{stderr}");
            assert!(!stderr.contains(", 0 of them may be in the stream"), "{stderr}");
        }
    }
}

#[test]
fn first_signal_after_end_of_input_drains() {
    let server = Server::start(|_| EntryOutcome::NoResponse);
    let mut pipe = Pipe::to(&server.endpoint, &[]);
    pipe.input().write_all(b"1\n").unwrap();
    wait_until(|| server.requests() > 0);
    let signals = std::thread::spawn({
        let pid = pipe.0.id().to_string();
        move || {
            for _ in 0..2 {
                std::thread::sleep(Duration::from_millis(300));
                std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap();
            }
        }
    });
    let stderr =
        read_stderr_until(&mut pipe, "interrupted: sending the records read so far", || ());
    signals.join().unwrap();
    assert_eq!(pipe.0.wait().unwrap().code(), Some(130), "{stderr}");
    assert!(stderr.contains("1 records were read and not delivered, 1 of them may be"), "{stderr}");
}

#[test]
fn paused_input_flushes_records() {
    let server = Server::accepting_all();
    let mut pipe = Pipe::to(&server.endpoint, &[]);
    let mut input = pipe.input();
    for (number, line) in ["one\n", "two\n", "three\n"].into_iter().enumerate() {
        input.write_all(line.as_bytes()).unwrap();
        wait_until(|| server.delivered().len() == number + 1);
    }
    drop(input);
    pipe.wait().expect(0, &["3 records delivered"]);
}

/// In `pipe 2>&1 | tee log`, for example, Ctrl-C also stops `tee`, which closes stderr.
#[test]
fn closed_stderr_does_not_stop_draining() {
    for recovers in [true, false] {
        let server = Server::start(move |entry| {
            if recovers || entry.data == b"one" {
                EntryOutcome::Delivered
            } else {
                EntryOutcome::Failed("InternalFailure")
            }
        });
        let mut pipe = Pipe::to(&server.endpoint, &["--max-attempts", "8"]);
        let mut input = pipe.input();
        input.write_all(b"one\n").unwrap();
        wait_until(|| server.delivered().len() == 1);
        drop(pipe.0.stderr.take());
        input.write_all(b"two\n").unwrap();
        wait_until(|| server.requests() > 1);
        pipe.signal("-TERM");
        wait_until(|| pipe.0.try_wait().unwrap().is_some());
        assert_eq!(pipe.0.wait().unwrap().code(), Some(143));
        assert_eq!(server.delivered().len(), if recovers { 2 } else { 1 });
    }
}
