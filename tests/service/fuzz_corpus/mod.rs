//! What fuzzing has kept, through the properties of its targets once more: what was found does not come back. See
//! fuzz/README.md.

mod deaggregate;
mod response;
mod stream_id;

use std::path::{Path, PathBuf};

use kinesis_sink::service::PutRecords;
use response::Answered;

use crate::support::{http, protobuf};

/// Says which input it was, if one fails.
struct Replayed<'a>(&'a str, PathBuf);

impl Drop for Replayed<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("to see it again: cargo fuzz run -s none {} {}", self.0, self.1.display());
        }
    }
}

fn replay(target: &str, check: impl Fn(&[u8])) {
    if !Path::new("fuzz").exists() {
        return eprintln!("SKIPPED: the corpus is in the repository, not in the package");
    }
    let folder = Path::new("fuzz/corpus").join(target);
    let mut paths: Vec<_> = folder.read_dir().unwrap().map(|file| file.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() > 10, "{} inputs in {}", paths.len(), folder.display());
    for path in paths {
        let input = std::fs::read(&path).unwrap();
        let _replayed = Replayed(target, path);
        check(&input);
    }
}

#[test]
fn aggregates_are_taken_apart() {
    replay("deaggregate", deaggregate::check);
}

#[test]
fn names_and_arns_are_told_from_other_texts() {
    replay("stream_id", stream_id::check);
}

#[test]
fn answers_in_json_are_read_as_the_sdk_reads_them() {
    let answered = Answered::new(PutRecords::new);
    replay("json_response", |input| answered.check(input));
}

/// Readers that call themselves at each bracket would run out of stack.
#[test]
fn json_may_be_nested_deeply() {
    let answered = Answered::new(PutRecords::new);
    for begin in ["[", r#"{"a":"#, r#"{"New":["#, r#"{"Records":["#, r#"{"Records":[{"New":["#] {
        for status in ["200", "400"] {
            let nested = format!("{status} 2\n{begin}{}", "[".repeat(200_000));
            answered.check(nested.as_bytes());
            answered.check(&[nested.as_bytes(), &[b']'; 200_000]].concat());
        }
    }
}

#[test]
fn cbor_may_be_nested_deeply() {
    let answered = Answered::new(|client| PutRecords::new(client).with_cbor());
    for begin in [b"\xa1\x63New".as_slice(), b"\xa1\x67Records", b"\xa1\x67Records\x81\xa1\x63New"]
    {
        for nested in [b"\x81".as_slice(), b"\x9f", b"\xa1\x60", b"\xbf\x60", b"\xc1"] {
            for status in [b"200 2\n", b"400 2\n"] {
                answered.check(&[status, begin, &nested.repeat(200_000)].concat());
                answered.check(&[status, begin, &nested.repeat(200_000), b"\0"].concat());
            }
        }
    }
}

#[test]
fn answers_in_cbor_are_read_as_the_sdk_reads_them() {
    let answered = Answered::new(|client| PutRecords::new(client).with_cbor());
    replay("cbor_response", |input| answered.check(input));
}
