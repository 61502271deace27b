//! Checks the properties of the fuzz targets with each input of the fuzzing corpus. See `fuzz/README.md`.

mod deaggregate;
mod response;
mod stream_id;

use std::path::{Path, PathBuf};

use kinesis_sink::service::PutRecords;
use response::ResponseChecker;

use crate::support::{http, protobuf};

struct ReplayOnPanic<'a>(&'a str, PathBuf);

impl Drop for ReplayOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("replay: cargo fuzz run -s none {} {}", self.0, self.1.display());
        }
    }
}

fn replay(target: &str, check: impl Fn(&[u8])) {
    if !Path::new("fuzz").exists() {
        return eprintln!("SKIPPED: the corpus is not part of the package");
    }
    let folder = Path::new("fuzz/corpus").join(target);
    let mut paths: Vec<_> = folder.read_dir().unwrap().map(|file| file.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() > 10, "{} inputs in {}", paths.len(), folder.display());
    for path in paths {
        let input = std::fs::read(&path).unwrap();
        let _replay = ReplayOnPanic(target, path);
        check(&input);
    }
}

#[test]
fn deaggregate_corpus_passes() {
    replay("deaggregate", deaggregate::check);
}

#[test]
fn stream_id_corpus_passes() {
    replay("stream_id", stream_id::check);
}

#[test]
fn json_response_corpus_passes() {
    let checker = ResponseChecker::new(PutRecords::new);
    replay("json_response", |input| checker.check(input));
}

/// A recursive parser would overflow the stack with these inputs.
#[test]
fn deeply_nested_json_does_not_overflow() {
    let checker = ResponseChecker::new(PutRecords::new);
    for begin in ["[", r#"{"a":"#, r#"{"New":["#, r#"{"Records":["#, r#"{"Records":[{"New":["#] {
        for status in ["200", "400"] {
            let nested = format!("{status} 2\n{begin}{}", "[".repeat(200_000));
            checker.check(nested.as_bytes());
            checker.check(&[nested.as_bytes(), &[b']'; 200_000]].concat());
        }
    }
}

#[test]
fn deeply_nested_cbor_does_not_overflow() {
    let checker = ResponseChecker::new(|client| PutRecords::new(client).with_cbor());
    for begin in [b"\xa1\x63New".as_slice(), b"\xa1\x67Records", b"\xa1\x67Records\x81\xa1\x63New"]
    {
        for nested in [b"\x81".as_slice(), b"\x9f", b"\xa1\x60", b"\xbf\x60", b"\xc1"] {
            for status in [b"200 2\n", b"400 2\n"] {
                checker.check(&[status, begin, &nested.repeat(200_000)].concat());
                checker.check(&[status, begin, &nested.repeat(200_000), b"\0"].concat());
            }
        }
    }
}

#[test]
fn cbor_response_corpus_passes() {
    let checker = ResponseChecker::new(|client| PutRecords::new(client).with_cbor());
    replay("cbor_response", |input| checker.check(input));
}
