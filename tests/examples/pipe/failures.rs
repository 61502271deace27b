//! Tests of how `pipe` handles invalid input and failed records, and of its dead-letter file.

use std::process::Command;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use serde_json::{Value, json};

use super::server::{Entry, EntryOutcome, Server};
use super::{DeadLetterFile, Pipe};

fn reject_bad(entry: &Entry) -> EntryOutcome {
    if entry.data.starts_with(b"bad") {
        EntryOutcome::Failed("InvalidArgumentException")
    } else {
        EntryOutcome::Delivered
    }
}

#[test]
fn outage_is_logged_without_colors() {
    let failures = AtomicUsize::new(3);
    let server = Server::start(move |_| {
        let fails = failures.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok();
        if fails {
            EntryOutcome::RequestRefused("InternalFailure")
        } else {
            EntryOutcome::Delivered
        }
    });
    let messages = [
        "WARN kinesis_sink: requests to stream example fail",
        "requests to stream example succeed again",
    ];
    let exit = Pipe::to(&server.endpoint, &[]).run("one\n").expect(0, &messages);
    assert!(!exit.stderr.contains('\x1b'), "{}", exit.stderr);
}

#[test]
fn bad_line_stops_reading_and_flushes() {
    let server = Server::accepting_all();
    let pipe = Pipe::to(&server.endpoint, &["--format", "ndjson"]);
    let messages = ["error: line 3: invalid JSON", "reading stopped after 3 lines"];
    pipe.run("1\n2\nthree\n4\n").expect(3, &messages);
    assert_eq!(server.delivered(), ["1", "2"]);
}

#[test]
fn bad_lines_go_to_dead_letter_file() {
    let server = Server::accepting_all();
    let dead_letters = DeadLetterFile::new("bad-lines");
    let options =
        ["--format", "ndjson", "--key-pointer", "/k", "--dead-letter", dead_letters.path()];
    let pipe = Pipe::to(&server.endpoint, &options);
    let large = format!("{{\"k\":1,\"d\":\"{}\"}}", "x".repeat(1_100_000));
    let input = [b"{\"k\":\"a\"}\n\xff\n{}\n", large.as_bytes(), b"\n{\"k\":\"b\"}\n"].concat();
    let messages =
        ["2 records delivered", &format!("3 records were written to {}", dead_letters.path())];
    let exit = pipe.run(input).expect(3, &messages);
    assert!(!exit.stderr.contains("stopped"), "{}", exit.stderr);
    assert_eq!(server.delivered(), ["{\"k\":\"a\"}", "{\"k\":\"b\"}"]);

    let [not_text, no_key, too_large] = &dead_letters.read()[..] else {
        panic!("expected three dead letters")
    };
    let expected = json!({
        "reason": "bad_input", "code": null, "attempts": 0, "may_have_been_written": false,
        "message": "line 2: invalid JSON at byte 1: fix the line or use --format lines",
        "partition_key": null, "data_base64": "/w==",
    });
    assert_eq!(*not_text, expected);
    assert_eq!(no_key["data"], "{}");
    assert_eq!(too_large["data"], *large);
    let message = too_large["message"].as_str().unwrap();
    assert!(message.contains("line 4: record is 1100"), "{message}");
}

#[test]
fn endless_line_is_skipped() {
    let server = Server::accepting_all();
    let dead_letters = DeadLetterFile::new("endless");
    let pipe = Pipe::to(&server.endpoint, &["--dead-letter", dead_letters.path()]);
    let endless = "x".repeat(25_000_000);
    pipe.run(format!("one\n{endless}\nthree\n{endless}")).expect(3, &["2 records delivered"]);
    assert_eq!(server.delivered(), ["one", "three"]);
    let [second, fourth] = &dead_letters.read()[..] else { panic!("expected two dead letters") };
    assert!(second["message"].as_str().unwrap().starts_with("line 2: longer than 10485760"));
    assert!(fourth["message"].as_str().unwrap().starts_with("line 4: "));
    assert!(second.get("data").is_none() && second.get("data_base64").is_none());
}

#[test]
fn rejected_record_goes_to_dead_letter_file() {
    let server = Server::start(reject_bad);
    let dead_letters = DeadLetterFile::new("rejected");
    let options = ["--key-field", "1", "--dead-letter", dead_letters.path()];
    let run = |input: &str| {
        let messages = [" 2 records delivered", "1 records were written to "];
        Pipe::to(&server.endpoint, &options).run(input).expect(3, &messages);
    };
    run("one\nbad\tline\nthree\n");
    let letter = json!({
        "reason": "rejected", "code": "InvalidArgumentException", "attempts": 1,
        "message": "the service rejects the record: InvalidArgumentException: injected",
        "may_have_been_written": false, "partition_key": "bad", "data": "bad\tline",
    });
    assert_eq!(dead_letters.read(), std::slice::from_ref(&letter));
    run("four\nbad\tline\nfive\n");
    assert_eq!(dead_letters.read(), [letter.clone(), letter], "the file is appended to");
    assert_eq!(server.delivered(), ["five", "four", "one", "three"]);
}

#[test]
fn rejected_record_stops_reading() {
    let server = Server::start(reject_bad);
    let mut pipe = Pipe::to(&server.endpoint, &[]);
    let mut input = pipe.input();
    std::io::Write::write_all(&mut input, b"one\nbad\nthree\n").unwrap();
    let messages = [
        "2 records delivered",
        "1 records were read and not delivered, 0 of them may be in the stream; first reason: \
         the service rejects the record: InvalidArgumentException",
    ];
    pipe.wait().expect(3, &messages);
    assert_eq!(server.delivered(), ["one", "three"]);
}

#[test]
fn attempt_limit_and_deadline_fail_records() {
    let fail = |entry: &Entry| {
        if entry.data.starts_with(b"bad") {
            EntryOutcome::Failed("InternalFailure")
        } else {
            EntryOutcome::Delivered
        }
    };
    for (option, amount, reason) in
        [("--max-attempts", "2", "attempts_exhausted"), ("--deadline", "1", "deadline_exceeded")]
    {
        let server = Server::start(fail);
        let dead_letters = DeadLetterFile::new(reason);
        let options = [option, amount, "--dead-letter", dead_letters.path()];
        Pipe::to(&server.endpoint, &options).run("one\nbad\n").expect(3, &["1 records delivered"]);
        let [letter] = &dead_letters.read()[..] else { panic!("expected one dead letter") };
        assert_eq!(
            (&letter["reason"], &letter["code"]),
            (&json!(reason), &json!("InternalFailure"))
        );
        assert_eq!(letter["partition_key"], Value::Null, "random keys are not reported");
        if option == "--max-attempts" {
            assert_eq!(letter["attempts"], 2);
        }
    }
}

#[test]
fn bad_dead_letter_path_sends_nothing() {
    let server = Server::accepting_all();
    let pipe = Pipe::to(&server.endpoint, &["--dead-letter", "/nowhere/dead"]);
    pipe.run("one\n").expect(1, &["cannot write --dead-letter /nowhere/dead"]);
    assert_eq!(server.requests(), 0);
}

#[cfg(target_os = "linux")]
#[test]
fn full_dead_letter_disk_reports_records() {
    let server = Server::start(reject_bad);
    // `/dev/full` can be opened, but writes fail.
    let pipe = Pipe::to(&server.endpoint, &["--dead-letter", "/dev/full"]);
    let messages = [
        "cannot write the dead-letter file",
        "1 records delivered",
        "1 records were read and not delivered",
    ];
    let exit = pipe.run("one\nbad\n").expect(1, &messages);
    assert!(!exit.stderr.contains("written to /dev/full"), "{}", exit.stderr);
    let pipe = Pipe::to(&server.endpoint, &["--format", "ndjson", "--dead-letter", "/dev/full"]);
    let messages = ["error: line 2: invalid JSON", "cannot write the dead-letter file: "];
    pipe.run("1\ntwo\n3\n").expect(1, &messages);
}

#[cfg(unix)]
#[test]
fn dead_letter_file_has_mode_0600() {
    use std::os::unix::fs::PermissionsExt;

    let server = Server::accepting_all();
    let dead_letters = DeadLetterFile::new("mode");
    Pipe::to(&server.endpoint, &["--dead-letter", dead_letters.path()]).run("one\n").expect(0, &[]);
    let mode = std::fs::metadata(dead_letters.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn fatal_error_dead_letters_all_records() {
    let refuse = |_: &Entry| EntryOutcome::RequestRefused("AccessDeniedException");
    let server = Server::start(refuse);
    let dead_letters = DeadLetterFile::new("refused");
    let messages = ["error: stream example refuses all requests", "AccessDenied"];
    let mut pipe = Pipe::to(&server.endpoint, &["--dead-letter", dead_letters.path()]);
    let mut input = pipe.input();
    std::io::Write::write_all(&mut input, b"one\ntwo\n").unwrap();
    pipe.wait().expect(1, &messages);
    let dead_letters = dead_letters.read();
    let data: Vec<_> = dead_letters.iter().map(|letter| letter["data"].as_str().unwrap()).collect();
    assert_eq!(data, ["one", "two"]);
    assert!(dead_letters.iter().all(|letter| letter["reason"] == "withdrawn"));

    let without = Pipe::to(&server.endpoint, &[]).run("one\ntwo\n");
    without.expect(1, &["2 records were read and not delivered, 0 of them may be"]);
}

#[test]
fn unreadable_input_reports_error() {
    let mut command = crate::support::example_program::example("pipe");
    let directory = std::fs::File::open(std::env::temp_dir()).unwrap();
    let output = Command::output(command.stdin(directory)).unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("error: cannot read standard input: "), "{stderr}");
}
