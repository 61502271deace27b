//! Bad input and records that fail: what ends reading, and what goes into the file.

use std::process::Command;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use serde_json::{Value, json};

use super::server::{Entry, Fate, Server};
use super::{Letters, Pipe};

/// Entries with this word in them fail for good.
fn reject_bad(entry: &Entry) -> Fate {
    match entry.data.starts_with(b"bad") {
        true => Fate::Fails("InvalidArgumentException"),
        false => Fate::Taken,
    }
}

#[test]
fn outage_is_logged_without_colors() {
    let failures = AtomicUsize::new(3);
    let server = Server::start(move |_| {
        let fails = failures.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok();
        if fails { Fate::Refused("InternalFailure") } else { Fate::Taken }
    });
    let said = [
        "WARN kinesis_sink: requests to stream example fail",
        "requests to stream example succeed again",
    ];
    let ended = Pipe::to(&server.endpoint, &[]).fed("one\n").expect(0, &said);
    assert!(!ended.said.contains('\x1b'), "{}", ended.said);
}

#[test]
fn bad_line_stops_reading_and_flushes() {
    let server = Server::that_takes_all();
    let pipe = Pipe::to(&server.endpoint, &["--format", "ndjson"]);
    let said = ["error: line 3: invalid JSON", "reading stopped after 3 lines"];
    pipe.fed("1\n2\nthree\n4\n").expect(3, &said);
    assert_eq!(server.taken(), ["1", "2"]);
}

#[test]
fn bad_lines_go_to_dead_letter_file() {
    let (server, letters) = (Server::that_takes_all(), Letters::new("bad-lines"));
    let options = ["--format", "ndjson", "--key-pointer", "/k", "--dead-letter", letters.path()];
    let pipe = Pipe::to(&server.endpoint, &options);
    let large = format!("{{\"k\":1,\"d\":\"{}\"}}", "x".repeat(1_100_000));
    let input = [b"{\"k\":\"a\"}\n\xff\n{}\n", large.as_bytes(), b"\n{\"k\":\"b\"}\n"].concat();
    let said = ["2 records delivered", &format!("3 records were written to {}", letters.path())];
    let ended = pipe.fed(input).expect(3, &said);
    assert!(!ended.said.contains("stopped"), "{}", ended.said);
    assert_eq!(server.taken(), ["{\"k\":\"a\"}", "{\"k\":\"b\"}"]);

    let [not_text, no_key, too_large] = &letters.read()[..] else { panic!("three") };
    let expected = json!({
        "reason": "bad_input", "code": null, "attempts": 0, "may_have_been_written": false,
        "message": "line 2: invalid JSON at byte 1: fix the line or use --format lines",
        "partition_key": null, "data_base64": "/w==",
    });
    assert_eq!(*not_text, expected);
    assert_eq!(no_key["data"], "{}");
    assert_eq!(too_large["data"], *large);
    let told = too_large["message"].as_str().unwrap();
    assert!(told.contains("line 4: record is 1100"), "{told}");
}

#[test]
fn endless_line_is_skipped() {
    let (server, letters) = (Server::that_takes_all(), Letters::new("endless"));
    let pipe = Pipe::to(&server.endpoint, &["--dead-letter", letters.path()]);
    let endless = "x".repeat(25_000_000);
    pipe.fed(format!("one\n{endless}\nthree\n{endless}")).expect(3, &["2 records delivered"]);
    assert_eq!(server.taken(), ["one", "three"]);
    let [second, fourth] = &letters.read()[..] else { panic!("two") };
    assert!(second["message"].as_str().unwrap().starts_with("line 2: longer than 10485760"));
    assert!(fourth["message"].as_str().unwrap().starts_with("line 4: "));
    assert!(second.get("data").is_none() && second.get("data_base64").is_none());
}

#[test]
fn rejected_record_goes_to_dead_letter_file() {
    let (server, letters) = (Server::start(reject_bad), Letters::new("rejected"));
    let options = ["--key-field", "1", "--dead-letter", letters.path()];
    let run = |input: &str| {
        let said = [" 2 records delivered", "1 records were written to "];
        Pipe::to(&server.endpoint, &options).fed(input).expect(3, &said);
    };
    run("one\nbad\tline\nthree\n");
    let letter = json!({
        "reason": "rejected", "code": "InvalidArgumentException", "attempts": 1,
        "message": "the service rejects the record: InvalidArgumentException: as the test says",
        "may_have_been_written": false, "partition_key": "bad", "data": "bad\tline",
    });
    assert_eq!(letters.read(), std::slice::from_ref(&letter));
    run("four\nbad\tline\nfive\n");
    assert_eq!(letters.read(), [letter.clone(), letter], "the file is appended to");
    assert_eq!(server.taken(), ["five", "four", "one", "three"]);
}

#[test]
fn rejected_record_stops_reading() {
    let server = Server::start(reject_bad);
    let mut pipe = Pipe::to(&server.endpoint, &[]);
    let mut input = pipe.input();
    std::io::Write::write_all(&mut input, b"one\nbad\nthree\n").unwrap();
    let said = [
        "2 records delivered",
        "1 records were read and not delivered, 0 of them may be in the stream; first reason: \
         the service rejects the record: InvalidArgumentException",
    ];
    pipe.ended().expect(3, &said);
    assert_eq!(server.taken(), ["one", "three"]);
}

#[test]
fn attempt_limit_and_deadline_fail_records() {
    let fail = |entry: &Entry| match entry.data.starts_with(b"bad") {
        true => Fate::Fails("InternalFailure"),
        false => Fate::Taken,
    };
    for (option, amount, reason) in
        [("--max-attempts", "2", "attempts_exhausted"), ("--deadline", "1", "deadline_exceeded")]
    {
        let (server, letters) = (Server::start(fail), Letters::new(reason));
        let options = [option, amount, "--dead-letter", letters.path()];
        Pipe::to(&server.endpoint, &options).fed("one\nbad\n").expect(3, &["1 records delivered"]);
        let [letter] = &letters.read()[..] else { panic!("one") };
        assert_eq!(
            (&letter["reason"], &letter["code"]),
            (&json!(reason), &json!("InternalFailure"))
        );
        assert_eq!(letter["partition_key"], Value::Null, "it was random");
        if option == "--max-attempts" {
            assert_eq!(letter["attempts"], 2);
        }
    }
}

#[test]
fn bad_dead_letter_path_sends_nothing() {
    let server = Server::that_takes_all();
    let pipe = Pipe::to(&server.endpoint, &["--dead-letter", "/nowhere/dead"]);
    pipe.fed("one\n").expect(1, &["cannot write --dead-letter /nowhere/dead"]);
    assert_eq!(server.asked(), 0);
}

#[cfg(target_os = "linux")]
#[test]
fn full_dead_letter_disk_reports_records() {
    let server = Server::start(reject_bad);
    // Opens, and is full.
    let pipe = Pipe::to(&server.endpoint, &["--dead-letter", "/dev/full"]);
    let said = [
        "cannot write the dead-letter file",
        "1 records delivered",
        "1 records were read and not delivered",
    ];
    let ended = pipe.fed("one\nbad\n").expect(1, &said);
    assert!(!ended.said.contains("written to /dev/full"), "{}", ended.said);
    let pipe = Pipe::to(&server.endpoint, &["--format", "ndjson", "--dead-letter", "/dev/full"]);
    let said = ["error: line 2: invalid JSON", "cannot write the dead-letter file: "];
    pipe.fed("1\ntwo\n3\n").expect(1, &said);
}

#[cfg(unix)]
#[test]
fn dead_letter_file_has_mode_0600() {
    use std::os::unix::fs::PermissionsExt;

    let (server, letters) = (Server::that_takes_all(), Letters::new("mode"));
    Pipe::to(&server.endpoint, &["--dead-letter", letters.path()]).fed("one\n").expect(0, &[]);
    let mode = std::fs::metadata(letters.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn fatal_stream_dead_letters_all_records() {
    let refuse = |_: &Entry| Fate::Refused("AccessDeniedException");
    let (server, letters) = (Server::start(refuse), Letters::new("refused"));
    let said = ["error: stream example refuses all requests", "AccessDenied"];
    let mut pipe = Pipe::to(&server.endpoint, &["--dead-letter", letters.path()]);
    let mut input = pipe.input();
    std::io::Write::write_all(&mut input, b"one\ntwo\n").unwrap();
    pipe.ended().expect(1, &said);
    let letters = letters.read();
    let data: Vec<_> = letters.iter().map(|letter| letter["data"].as_str().unwrap()).collect();
    assert_eq!(data, ["one", "two"]);
    assert!(letters.iter().all(|letter| letter["reason"] == "withdrawn"));

    let without = Pipe::to(&server.endpoint, &[]).fed("one\ntwo\n");
    without.expect(1, &["2 records were read and not delivered, 0 of them may be"]);
}

#[test]
fn unreadable_input_reports_error() {
    let mut command = crate::support::example_program::example("pipe");
    let folder = std::fs::File::open(std::env::temp_dir()).unwrap();
    let said = Command::output(command.stdin(folder)).unwrap();
    let told = String::from_utf8(said.stderr).unwrap();
    assert_eq!(said.status.code(), Some(1), "{told}");
    assert!(told.contains("error: cannot read standard input: "), "{told}");
}
