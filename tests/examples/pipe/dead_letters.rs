//! Tests of `pipe --format dead-letters`, which sends the records of a dead-letter file again.

#[allow(dead_code, reason = "dead letters are written by the program")]
#[path = "../../../examples/pipe/dead_letter.rs"]
mod dead_letter;

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kinesis_sink::PartitionKey;
use serde_json::{Value, json};

use self::dead_letter::{DeadLetterError, parse};
use super::server::{EntryOutcome, Server};
use super::{DeadLetterFile, Exit, Pipe};
use crate::support::example_program;

const RESEND: [&str; 2] = ["--format", "dead-letters"];

fn resend(server: &Server, input: impl AsRef<[u8]>, options: &[&str]) -> Exit {
    Pipe::to(&server.endpoint, &[&RESEND[..], options].concat()).run(input)
}

fn rejecting_while(rejects: &Arc<AtomicBool>) -> Server {
    let rejects = rejects.clone();
    Server::start(move |_| {
        if rejects.load(Ordering::Relaxed) {
            EntryOutcome::Failed("InvalidArgumentException")
        } else {
            EntryOutcome::Delivered
        }
    })
}

fn letter(change: impl FnOnce(&mut serde_json::Map<String, Value>)) -> String {
    let mut letter = json!({
        "reason": "rejected", "code": "InvalidArgumentException", "message": "m", "attempts": 1,
        "may_have_been_written": false, "partition_key": "k", "data": "text",
    });
    change(letter.as_object_mut().unwrap());
    letter.to_string()
}

#[track_caller]
fn parse_error(line: &str) -> DeadLetterError {
    match parse(line.as_bytes()) {
        Ok(_) => panic!("the line is valid"),
        Err(error) => {
            assert!(!error.to_string().contains("secret"), "{error}");
            error
        }
    }
}

#[test]
fn parsed_line_has_data_and_keys() {
    let resent = parse(letter(|_| ()).as_bytes()).unwrap();
    assert_eq!(resent.record.partition_key(), &PartitionKey::from("k"));
    assert_eq!(resent.record.data(), "text");
    assert_eq!(resent.record.explicit_hash_key(), None);
    assert!(!resent.may_have_been_written);

    let highest = u128::MAX.to_string();
    let line = letter(|fields| {
        fields.remove("data");
        fields.insert("data_base64".into(), "/wA=".into());
        fields.insert("explicit_hash_key".into(), highest.into());
        fields.insert("may_have_been_written".into(), true.into());
    });
    let resent = parse(line.as_bytes()).unwrap();
    assert_eq!(resent.record.data(), &b"\xff\0"[..]);
    assert_eq!(resent.record.explicit_hash_key().map(u128::from), Some(u128::MAX));
    assert!(resent.may_have_been_written);

    let key = |line: &str| parse(line.as_bytes()).unwrap().record.partition_key().clone();
    assert_eq!(key(r#"{"partition_key":null,"data":""}"#), PartitionKey::Random);
    let managed = r#"{"partition_key":null,"service_managed":true,"data":""}"#;
    assert_eq!(key(managed), PartitionKey::ServiceManaged);
}

#[test]
fn unusable_line_reports_reason() {
    assert_eq!(parse_error(r#"{"partition_key":"#), DeadLetterError::InvalidJson(17));
    let not_utf8 = parse(b"{\"partition_key\":null,\"data\":\"\xff\"}").err();
    assert!(matches!(not_utf8, Some(DeadLetterError::InvalidJson(_))));
    assert!(matches!(parse_error("[1]"), DeadLetterError::NotDeadLetter(_)));
    assert!(matches!(parse_error(r#"{"secret":"x"}"#), DeadLetterError::NotDeadLetter(_)));
    let no_key = letter(|fields| drop(fields.remove("partition_key")));
    assert!(matches!(parse_error(&no_key), DeadLetterError::NotDeadLetter(_)));
    let no_data = letter(|fields| drop(fields.remove("data")));
    assert_eq!(parse_error(&no_data), DeadLetterError::NoData);
    let with = |field: &str, value: &str| {
        letter(|fields| drop(fields.insert(field.to_owned(), value.into())))
    };
    assert_eq!(parse_error(&with("reason", "bad_input")), DeadLetterError::BadInput);
    assert_eq!(parse_error(&with("data_base64", "/wA=")), DeadLetterError::TwoData);
    for hash_key in ["-1", "007", "secret", "340282366920938463463374607431768211456"] {
        let line = with("explicit_hash_key", hash_key);
        assert_eq!(parse_error(&line), DeadLetterError::InvalidHashKey);
    }
    for text in ["/wA", "/w A=", "secret!"] {
        let line = letter(|fields| {
            fields.remove("data");
            fields.insert("data_base64".to_owned(), text.into());
        });
        assert_eq!(parse_error(&line), DeadLetterError::InvalidBase64, "{text}");
    }
    let two_keys = letter(|fields| drop(fields.insert("service_managed".into(), true.into())));
    assert_eq!(parse_error(&two_keys), DeadLetterError::TwoKeys);
}

#[test]
fn failed_records_are_sent_again_with_keys() {
    let rejects = Arc::new(AtomicBool::new(true));
    let server = rejecting_while(&rejects);
    let first = DeadLetterFile::new("again-first");
    let input = b"key 1\ttext \"quoted\" \\ \0\n\xc3\xa9\t\xff\xfe\n\xf0\x9f\xa6\x80\t\n";
    let options = ["--key-field", "1", "--dead-letter", first.path()];
    Pipe::to(&server.endpoint, &options).run(input).expect(3, &["3 records were written"]);

    // Explicit hash keys are not set by any other format.
    let second = DeadLetterFile::new("again-second");
    let mut lines = std::fs::read_to_string(first.path()).unwrap();
    for hash_key in ["0", "340282366920938463463374607431768211455"] {
        let line = format!("{{\"partition_key\":null,\"explicit_hash_key\":\"{hash_key}\",");
        lines += &(line + "\"data\":\"placed\"}\n\n");
    }
    let options = ["--dead-letter", second.path()];
    resend(&server, &lines, &options).expect(3, &["5 records, ", "5 records were written to "]);

    rejects.store(false, Ordering::Relaxed);
    let lines = std::fs::read(second.path()).unwrap();
    let exit = resend(&server, lines, &["--ordering", "per-key"]);
    exit.expect(0, &["5 records, ", "; 5 records delivered"]);
    server.with_delivered(|entries| {
        let sent: Vec<_> =
            entries.iter().map(|entry| (&*entry.key, &*entry.data, &*entry.hash_key)).collect();
        let random = |at: usize| {
            assert_eq!(sent[at].0.len(), 8, "a random key");
            sent[at].0
        };
        let highest = "340282366920938463463374607431768211455";
        let expected = [
            ("key 1", &b"key 1\ttext \"quoted\" \\ \0"[..], ""),
            ("\u{e9}", b"\xc3\xa9\t\xff\xfe", ""),
            ("\u{1f980}", b"\xf0\x9f\xa6\x80\t", ""),
            (random(3), b"placed", "0"),
            (random(4), b"placed", highest),
        ];
        assert_eq!(sent, expected);
    });
}

#[test]
fn unusable_lines_are_copied_unchanged() {
    let server = Server::accepting_all();
    let first = DeadLetterFile::new("unusable-first");
    let second = DeadLetterFile::new("unusable-second");
    // A line of two invalid records that `pipe` wrote itself, of which one has neither key nor data.
    let options = ["--format", "ndjson", "--dead-letter", first.path()];
    let input = format!("secret\n{}\n", "x".repeat(11_000_000));
    Pipe::to(&server.endpoint, &options).run(input).expect(3, &["2 records were written"]);
    let own = std::fs::read_to_string(first.path()).unwrap();
    let too_large = letter(|fields| {
        fields.insert("data".into(), "x".repeat(2_000_000).into());
        fields.insert("explicit_hash_key".into(), "7".into());
    });
    let torn = &letter(|_| ())[..60];
    let good = letter(|_| ());
    let input = format!("{own}{good}\r\n{too_large}\n{good}\n{torn}");

    for _ in 0..2 {
        let messages = [
            "line 1: bad_input has never been a record",
            "line 2: bad_input has never been a record",
            "line 4: record is 2000001 bytes",
            "line 6: invalid JSON at byte 60",
            "2 records delivered",
            &format!("4 records were written to {}", second.path()),
        ];
        let exit = resend(&server, &input, &["--dead-letter", second.path()]).expect(3, &messages);
        assert!(!exit.stderr.contains("secret"), "{}", exit.stderr);
        let copied = std::fs::read_to_string(second.path()).unwrap();
        let expected = format!("{own}{too_large}\n{torn}\n");
        assert!(copied == expected, "the lines differ from those of the input");
        std::fs::remove_file(second.path()).unwrap();
    }
}

#[test]
fn unusable_line_stops_without_file() {
    let server = Server::accepting_all();
    let good = letter(|_| ());
    let input = format!("{good}\n\nsecret\n{good}\n");
    let messages = ["error: line 3: invalid JSON at byte 1", "reading stopped after 3 lines"];
    let exit = resend(&server, &input, &[]).expect(3, &messages);
    assert!(!exit.stderr.contains("secret"), "{}", exit.stderr);
    assert_eq!(server.delivered(), ["text"]);
}

#[test]
fn messages_for_unusable_lines_are_limited() {
    let server = Server::accepting_all();
    let second = DeadLetterFile::new("limited");
    let options = ["--quiet", "--dead-letter", second.path()];
    let exit = resend(&server, "{}\n".repeat(500), &options).expect(3, &["line 10: not a dead"]);
    assert_eq!(exit.stderr.matches("not a dead letter").count(), 10, "{}", exit.stderr);
    assert_eq!(std::fs::read_to_string(second.path()).unwrap(), "{}\n".repeat(500));
}

#[test]
fn escaped_line_of_largest_record_is_read() {
    let server = Server::accepting_all();
    let data = "\\u0001".repeat(1_000_000);
    let line = format!("{{\"partition_key\":\"k\",\"data\":\"{data}\"}}");
    resend(&server, line, &[]).expect(0, &["1 records, 1000000 bytes read"]);

    // Such a line cannot be kept, so it must not be skipped.
    let second = DeadLetterFile::new("endless-line");
    let input = format!("{}\n{}\n{}\n", letter(|_| ()), "x".repeat(70_000_000), letter(|_| ()));
    let messages = ["error: line 2: longer than 62980096 bytes", "1 records delivered"];
    resend(&server, input, &["--dead-letter", second.path()]).expect(3, &messages);
}

#[test]
fn possible_duplicates_are_counted() {
    let server = Server::accepting_all();
    let written = letter(|fields| drop(fields.insert("may_have_been_written".into(), true.into())));
    let input = format!("{written}\n{}\n{written}\n", letter(|_| ()));
    let message = "; 2 of the records may have been in the stream before";
    resend(&server, input, &[]).expect(0, &["3 records delivered", message]);
    let exit = resend(&server, letter(|_| ()), &[]).expect(0, &["1 records delivered"]);
    assert!(!exit.stderr.contains("before"), "{}", exit.stderr);
}

#[cfg(unix)]
#[test]
fn reading_own_dead_letter_file_is_refused() {
    let server = Server::start(|_| EntryOutcome::Failed("InvalidArgumentException"));
    let file = DeadLetterFile::new("itself");
    let line = letter(|_| ()) + "\n";
    std::fs::write(file.path(), &line).unwrap();
    let mut command = example_program::example("pipe");
    command.args(["--endpoint", &server.endpoint, "--region", "us-east-1"]).args(RESEND);
    command.args(["--dead-letter", file.path()]).stdin(File::open(file.path()).unwrap());
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("--dead-letter is the file that is read: name another"), "{stderr}");
    assert_eq!(server.requests(), 0);
    assert_eq!(std::fs::read_to_string(file.path()).unwrap(), line);
}
