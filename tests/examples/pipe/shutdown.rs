//! How it ends: by itself, and when it is told to.
#![cfg(unix)]

use std::io::{BufRead, BufReader, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::server::{Fate, Server};
use super::{LONGEST, Letters, Pipe};

fn until(mut what: impl FnMut() -> bool) {
    let latest = Instant::now() + LONGEST;
    while !what() {
        assert!(Instant::now() < latest, "it does not come");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until the program says this, and calls `then`. Returns what else it says to its end.
fn hear(pipe: &mut Pipe, said: &str, then: impl FnOnce()) -> String {
    let mut errors = BufReader::new(pipe.0.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains(said) {
        line.clear();
        assert!(errors.read_line(&mut line).unwrap() > 0, "it ended without {said}");
    }
    then();
    let mut rest = String::new();
    errors.read_to_string(&mut rest).unwrap();
    rest
}

#[test]
fn first_signal_drains_read_records() {
    for (signal, word, status) in [("-INT", "interrupted", 130), ("-TERM", "terminated", 143)] {
        let takes = Arc::new(AtomicBool::new(false));
        let server = Server::start({
            let takes = takes.clone();
            move |_| match takes.load(Ordering::Relaxed) {
                true => Fate::Taken,
                false => Fate::Fails("InternalFailure"),
            }
        });
        let mut pipe = Pipe::to(&server.endpoint, &[]);
        // Kept open to the end: nothing but the signal ends it.
        let mut input = pipe.input();
        input.write_all(b"one\ntwo\n").unwrap();
        until(|| server.asked() > 0);
        pipe.signal(signal);
        let draining = format!("{word}: sending the records read so far; a second signal aborts");
        let said = hear(&mut pipe, &draining, || takes.store(true, Ordering::Relaxed));
        assert_eq!(pipe.0.wait().unwrap().code(), Some(status), "{said}");
        assert!(said.contains("2 records delivered"), "{said}");
        assert!(said.contains("reading stopped after 2 lines"), "{said}");
        assert!(!said.contains("not delivered"), "{said}");
    }
}

#[test]
fn second_signal_aborts_and_reports_rest() {
    let unanswered = |_: &_| Fate::Unanswered;
    for (with_file, quiet) in [(true, false), (false, false), (false, true)] {
        let (server, letters) = (Server::start(unanswered), Letters::new("given-up"));
        let mut options = vec!["--buffer-records", "3"];
        if quiet {
            options.push("--quiet");
        }
        if with_file {
            options.extend(["--dead-letter", letters.path()]);
        }
        let mut pipe = Pipe::to(&server.endpoint, &options);
        let mut input = pipe.input();
        input.write_all(b"1\n2\n3\n4\n5\n").unwrap();
        until(|| server.asked() > 0);
        pipe.signal("-INT");
        let signals = std::thread::spawn({
            let pid = pipe.0.id().to_string();
            move || {
                // As a user who hits it again when nothing happens.
                std::thread::sleep(Duration::from_millis(300));
                std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap();
            }
        });
        let (status, said) = if quiet {
            let ended = pipe.ended();
            (ended.status, ended.said)
        } else {
            let said = hear(&mut pipe, "interrupted: sending the records read so far", || ());
            (pipe.0.wait().unwrap().code(), said)
        };
        signals.join().unwrap();
        assert_eq!(status, Some(130), "{said}");
        assert!(said.contains("reading stopped after 3 lines"), "no more than has room: {said}");
        assert_eq!(said.contains("0 records delivered"), !quiet, "{said}");
        if with_file {
            assert!(said.contains("3 records were written to"), "{said}");
            let letters = letters.read();
            let data: Vec<_> =
                letters.iter().map(|letter| letter["data"].as_str().unwrap()).collect();
            assert_eq!(data, ["1", "2", "3"]);
            assert!(letters.iter().all(|letter| letter["reason"] == "withdrawn"));
            assert!(letters.iter().any(|letter| letter["may_have_been_written"] == true));
        } else {
            assert!(said.contains("3 records were read and not delivered, "), "{said}");
            assert!(!said.contains(", 0 of them may be in the stream"), "{said}");
        }
    }
}

#[test]
fn signal_after_end_of_input_is_first() {
    let server = Server::start(|_| Fate::Unanswered);
    let mut pipe = Pipe::to(&server.endpoint, &[]);
    pipe.input().write_all(b"1\n").unwrap();
    until(|| server.asked() > 0);
    let signals = std::thread::spawn({
        let pid = pipe.0.id().to_string();
        move || {
            for _ in 0..2 {
                std::thread::sleep(Duration::from_millis(300));
                std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap();
            }
        }
    });
    let said = hear(&mut pipe, "interrupted: sending the records read so far", || ());
    signals.join().unwrap();
    assert_eq!(pipe.0.wait().unwrap().code(), Some(130), "{said}");
    assert!(said.contains("1 records were read and not delivered, 1 of them may be"), "{said}");
}

#[test]
fn paused_input_flushes_records() {
    let server = Server::that_takes_all();
    let mut pipe = Pipe::to(&server.endpoint, &[]);
    let mut input = pipe.input();
    for (number, line) in ["one\n", "two\n", "three\n"].into_iter().enumerate() {
        input.write_all(line.as_bytes()).unwrap();
        until(|| server.taken().len() == number + 1);
    }
    drop(input);
    pipe.ended().expect(0, &["3 records delivered"]);
}

/// As with `pipe 2>&1 | tee log`, where Ctrl-C ends `tee`, too.
#[test]
fn closed_stderr_does_not_stop_draining() {
    for answered in [true, false] {
        let server = Server::start(move |entry| match answered || entry.data == b"one" {
            true => Fate::Taken,
            false => Fate::Fails("InternalFailure"),
        });
        let mut pipe = Pipe::to(&server.endpoint, &["--max-attempts", "8"]);
        let mut input = pipe.input();
        input.write_all(b"one\n").unwrap();
        until(|| server.taken().len() == 1);
        drop(pipe.0.stderr.take());
        input.write_all(b"two\n").unwrap();
        until(|| server.asked() > 1);
        pipe.signal("-TERM");
        until(|| pipe.0.try_wait().unwrap().is_some());
        assert_eq!(pipe.0.wait().unwrap().code(), Some(143));
        assert_eq!(server.taken().len(), if answered { 2 } else { 1 });
    }
}
