//! Tests of the input formats and partition keys of `pipe`.

use super::server::Server;
use super::{Exit, Pipe};

fn sent(input: impl AsRef<[u8]>, options: &[&str]) -> Vec<(String, String)> {
    let server = Server::accepting_all();
    Pipe::to(&server.endpoint, options).run(input).expect(0, &[]);
    let mut sent = server.delivered_with_keys();
    sent.sort_unstable();
    sent
}

fn data(input: impl AsRef<[u8]>, options: &[&str]) -> Vec<String> {
    let mut data: Vec<_> = sent(input, options).into_iter().map(|(_, data)| data).collect();
    data.sort_unstable();
    data
}

fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> Vec<(String, String)> {
    pairs.map(|(key, data)| (key.to_owned(), data.to_owned())).to_vec()
}

fn assert_bad_line(line: &str, options: &[&str], message: &str) -> Exit {
    let server = Server::accepting_all();
    let exit = Pipe::to(&server.endpoint, options).run(line).expect(3, &["line 1: ", message]);
    assert_eq!(server.requests(), 0);
    exit
}

#[test]
fn lines_become_records_without_newline() {
    let input = "one\n\ntwo\r\nthr\ree";
    assert_eq!(data(input, &[]), ["", "one", "thr\ree", "two"]);
    assert_eq!(data(input, &["--keep-newline"]), ["\n", "one\n", "thr\ree", "two\r\n"]);
    assert_eq!(data("", &[]), [""; 0]);
}

#[test]
fn byte_order_mark_is_skipped_at_the_beginning() {
    let mark = "\u{feff}";
    let input = format!("{mark}1\n{mark}2");
    assert_eq!(data(&input, &[]), ["1".to_owned(), format!("{mark}2")]);
    let input = format!("{mark}{{\"k\":\"a\"}}\n2");
    assert_eq!(data(&input, &["--format", "ndjson"]), ["2", "{\"k\":\"a\"}"]);
    assert_eq!(data(mark, &[]), [""; 0]);
    assert_eq!(data("\u{feff}\n", &[]), [""]);
    // Each input is shorter than the mark, or starts like the mark and then differs.
    assert_eq!(data("1", &[]), ["1"]);
    for short in [&b"\xef"[..], b"\xef\xbb", b"\xef\xbb\n"] {
        let message = format!("1 records, {} bytes read", short.trim_ascii().len());
        Pipe::embedded(&[]).run(short).expect(0, &[&message]);
    }
    let frame = format!("\0\0\0\x04{mark}1");
    assert_eq!(data(&frame, &["--format", "length-prefixed"]), [format!("{mark}1")]);
}

#[test]
fn long_and_binary_lines_are_sent() {
    let server = Server::accepting_all();
    let long = "x".repeat(900_000);
    let input = format!("{long}\nshort\n{long}");
    Pipe::to(&server.endpoint, &[]).run(&input).expect(0, &["3 records, 1800005 bytes read"]);
    assert_eq!(server.delivered(), ["short", &long, &long]);
    Pipe::embedded(&[]).run(b"\xff\x00\xfe\n\x80").expect(0, &["2 records read back"]);
}

#[test]
fn ndjson_is_validated_and_sent_unchanged() {
    let input = "{\"a\" : 1}\n\n \t\r\n[ ]\r\n\"text\"";
    let ndjson = ["--format", "ndjson"];
    assert_eq!(data(input, &ndjson), ["\"text\"", "[ ]", "{\"a\" : 1}"]);
    let kept = data(input, &["--format", "ndjson", "--keep-newline"]);
    assert_eq!(kept, ["\"text\"", "[ ]\r\n", "{\"a\" : 1}\n"]);
    for line in ["{\"a\":}", "{\"a\":1} 2", "nope"] {
        let exit = assert_bad_line(line, &ndjson, "invalid JSON at byte ");
        assert!(exit.stderr.contains("--format lines"), "{}", exit.stderr);
        assert!(!exit.stderr.contains("nope"), "{}", exit.stderr);
    }
}

#[test]
fn key_pointer_selects_partition_key() {
    let line = r#"{"a":{"b/c":["x",17,true,1.50]},"~":"ключ 🦀"}"#;
    let key = |pointer: &str| {
        let sent = sent(line, &["--format", "ndjson", "--key-pointer", pointer]);
        assert_eq!(sent[0].1, line);
        sent[0].0.clone()
    };
    let keys = ["/a/b~1c/0", "/a/b~1c/1", "/a/b~1c/2", "/a/b~1c/3", "/~0"].map(key);
    assert_eq!(keys, ["x", "17", "true", "1.5", "ключ 🦀"]);
    let root = sent("\"whole\"", &["--format", "ndjson", "--key-pointer", ""]);
    assert_eq!(root, pairs([("whole", "\"whole\"")]));
}

#[test]
fn key_pointer_without_key_fails_line() {
    let with = |pointer| ["--format", "ndjson", "--key-pointer", pointer];
    let line = r#"{"null":null,"object":{},"array":[1],"empty":""}"#;
    assert_bad_line(line, &with("/none"), "no value at --key-pointer /none");
    assert_bad_line(line, &with("/null"), "is null: ");
    assert_bad_line(line, &with("/object"), "is an object: ");
    assert_bad_line(line, &with("/array"), "is an array: ");
    assert_bad_line(line, &with("/empty"), "partition key is empty");
    let long = format!("{{\"k\":\"{}\"}}", "ß".repeat(257));
    assert_bad_line(&long, &with("/k"), "partition key is 257 characters");
}

#[test]
fn key_field_selects_partition_key() {
    let tabs = sent("a\tb\tc\nd\te\tf\n", &["--key-field", "2"]);
    assert_eq!(tabs, pairs([("b", "a\tb\tc"), ("e", "d\te\tf")]));
    let last = sent("a:b\r\n", &["--key-field", "2", "--delimiter", ":"]);
    assert_eq!(last, pairs([("b", "a:b")]), "the newline is not part of a field");
    let wide = sent("a→b→c\n", &["--key-field", "3", "--delimiter", "→"]);
    assert_eq!(wide, pairs([("c", "a→b→c")]));
    assert_bad_line("a\tb\n", &["--key-field", "3"], "2 fields, but --key-field is 3");
    assert_bad_line("a\t\tc\n", &["--key-field", "2"], "partition key is empty");
}

#[test]
fn length_prefixed_frames_become_records() {
    let input = b"\0\0\0\x03one\0\0\0\0\0\0\0\x04t\nwo";
    assert_eq!(data(input, &["--format", "length-prefixed"]), ["", "one", "t\nwo"]);
}

#[test]
fn truncated_frame_stops_reading() {
    for rest in ["\0", "\0\0\0\x02", "\0\0\0\x02x"] {
        let server = Server::accepting_all();
        let pipe = Pipe::to(&server.endpoint, &["--format", "length-prefixed"]);
        let messages = [
            "frame 2: input ends within the frame",
            "reading stopped after 1 frames",
            "1 records delivered",
        ];
        pipe.run(format!("\0\0\0\x03one{rest}")).expect(3, &messages);
        assert_eq!(server.delivered(), ["one"]);
    }
}

#[test]
fn oversize_frame_stops_reading() {
    let server = Server::accepting_all();
    let pipe = Pipe::to(&server.endpoint, &["--format", "length-prefixed"]);
    pipe.run("\0\0\0\x03oneplain text").expect(3, &["frame 2: length exceeds 10485760"]);
    assert_eq!(server.delivered(), ["one"]);
}
