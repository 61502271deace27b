//! Tests that this crate and AWS's Python library `aws-kinesis-agg` read the aggregates of each other.
//!
//! The tests need `python3` and the package. Install the package, or set `AWS_KINESIS_AGG_PATH` to its directory:
//!
//! ```sh
//! python3 -m pip install --target target/aws-kinesis-agg -r tests/aggregation/aws_kinesis_agg/requirements.txt
//! AWS_KINESIS_AGG_PATH=target/aws-kinesis-agg cargo test --test aggregation aws_kinesis_agg
//! ```
//!
//! If Python or the package is missing, the tests print `SKIPPED` and pass, or fail if `REQUIRE_INTEROP` is set.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use fastrand::Rng;
use futures::SinkExt;
use kinesis_sink::aggregate::{Member, deaggregate, encode};
use kinesis_sink::service::{Placement, PutRecordsRequest, PutRecordsResponse};
use kinesis_sink::{Aggregation, KinesisSink, Record};

fn python(arguments: &[&str]) -> Option<Command> {
    let python = || {
        let mut python = Command::new("python3");
        if let Some(path) = std::env::var_os("AWS_KINESIS_AGG_PATH") {
            python.env("PYTHONPATH", path);
        }
        python.stdin(Stdio::piped()).stdout(Stdio::piped());
        python
    };
    let import = "import aws_kinesis_agg.aggregator, aws_kinesis_agg.deaggregator";
    let status = python().args(["-c", import]).stderr(Stdio::null()).status();
    if status.is_ok_and(|status| status.success()) {
        let mut python = python();
        python.args(arguments);
        return Some(python);
    }
    assert!(
        std::env::var_os("REQUIRE_INTEROP").is_none(),
        "REQUIRE_INTEROP is set, but python3 or the package aws-kinesis-agg is missing"
    );
    // The test harness captures `eprintln`.
    let notice = "SKIPPED: python3 or the package aws-kinesis-agg is missing, see tests/aggregation/aws_kinesis_agg/mod.rs";
    writeln!(std::io::stderr(), "{notice}").expect("stderr is open");
    None
}

fn output(mut python: Command, input: String) -> String {
    let mut child = python.spawn().expect("python3 cannot be started");
    let mut stdin = child.stdin.take().expect("stdin is not piped");
    // The script writes before it has read all input, so serving stdin and stdout in turn would deadlock.
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().expect("python3 failed");
    writer.join().expect("the writer panicked").expect("the script did not read all input");
    assert!(output.status.success(), "{}", output.status);
    String::from_utf8(output.stdout).expect("the output is not UTF-8")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
        text
    })
}

fn bytes(hex: &str) -> Bytes {
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("invalid hex digit");
    (0..hex.len()).step_by(2).map(byte).collect()
}

fn random_members(count: usize, rng: &mut Rng) -> Vec<Member> {
    let keys = rng.usize(1..=count);
    let has_hash_keys = rng.bool();
    let member = |rng: &mut Rng| {
        let length = rng.usize(1..12);
        let text: String =
            (0..length).map(|_| rng.choice(['k', '0', 'ß', '🦀']).unwrap()).collect();
        let key = if rng.bool() { rng.usize(..keys).to_string() } else { text };
        let data: Vec<u8> = (0..rng.usize(..150)).map(|_| rng.u8(..)).collect();
        let data = if rng.u32(..10) == 0 { Vec::new() } else { data };
        let member = Member::new(key, data);
        let hash_keys = [0, 1, u128::MAX, rng.u128(..)];
        if has_hash_keys && rng.bool() {
            return member.with_explicit_hash_key(rng.choice(hash_keys).unwrap());
        }
        member
    };
    (0..count).map(|_| member(rng)).collect()
}

fn random_aggregates() -> Vec<Vec<Member>> {
    let seed = std::env::var("AGGREGATE_SEED").map_or_else(
        |_| fastrand::u64(..),
        |seed| seed.parse().expect("AGGREGATE_SEED is not a number"),
    );
    println!("replay: AGGREGATE_SEED={seed} cargo test --test aggregation aws_kinesis_agg");
    let mut rng = Rng::with_seed(seed);
    let mut counts = vec![1, 1, 2, 127, 128, 129, 2_000];
    counts.extend((0..20).map(|_| rng.usize(1..300)));
    counts.iter().map(|count| random_members(*count, &mut rng)).collect()
}

fn script_line(index: usize, hash_key: Option<String>, member: &Member) -> String {
    let key = member.partition_key().expect("the member has no key");
    let hash_key = hash_key.unwrap_or_default();
    format!("{index}\t{hash_key}\t{}\t{}\n", hex(key.as_bytes()), hex(member.data()))
}

#[test]
fn aws_library_decodes_aggregates() {
    let Some(python) = python(&["tests/aggregation/aws_kinesis_agg/deaggregate.py"]) else {
        return;
    };
    let mut input = String::new();
    let mut expected = String::new();
    for (index, members) in random_aggregates().iter().enumerate() {
        writeln!(input, "{}", hex(&encode(members).expect("members have keys")))
            .expect("writing to a String cannot fail");
        // Unlike the KCL, the library assigns the first entry of the hash key table to members without a hash key.
        let first = members.iter().find_map(Member::explicit_hash_key);
        for member in members {
            let hash_key = member.explicit_hash_key().or(first);
            expected += &script_line(index, hash_key.map(|hash_key| hash_key.to_string()), member);
        }
    }
    let read = output(python, input);
    for (read, expected) in read.lines().zip(expected.lines()) {
        assert_eq!(read, expected);
    }
    assert_eq!(read.lines().count(), expected.lines().count());
}

#[test]
fn encode_and_deaggregate_match_aws_library() {
    let Some(python) = python(&["tests/aggregation/aws_kinesis_agg/aggregate.py"]) else { return };
    let aggregates = random_aggregates();
    let mut input = String::new();
    for (index, members) in aggregates.iter().enumerate() {
        for member in members {
            input +=
                &script_line(index, member.explicit_hash_key().map(|key| key.to_string()), member);
        }
    }
    let written = output(python, input);
    assert_eq!(written.lines().count(), aggregates.len());
    for (written, members) in written.lines().map(bytes).zip(&aggregates) {
        assert_eq!(written, encode(members).expect("members have keys"));
        let read = deaggregate(&written);
        assert!(read.is_aggregate());
        assert_eq!(read.len(), members.len());
        for (read, member) in read.zip(members) {
            assert_eq!(read.data(), member.data());
            assert_eq!(read.partition_key(), member.partition_key());
            assert_eq!(read.explicit_hash_key(), member.explicit_hash_key());
        }
    }
}

#[test]
fn aws_library_decodes_aggregate_like_payloads() {
    let Some(python) = python(&["tests/aggregation/aws_kinesis_agg/deaggregate.py"]) else {
        return;
    };
    let magic = b"\xf3\x89\x9a\xc2";
    let whole = encode(&[Member::new("k", "inner")]).expect("members have keys").to_vec();
    let payloads = [magic.to_vec(), [magic, &[0; 50][..]].concat(), whole];
    let entries = sent_entries(&payloads);
    assert_eq!(entries.len(), payloads.len());
    let mut input = String::new();
    let mut expected = String::new();
    for (index, (entry, payload)) in entries.iter().zip(payloads).enumerate() {
        writeln!(input, "{}", hex(entry)).expect("writing to a String cannot fail");
        expected += &script_line(index, None, &Member::new(index.to_string(), payload));
    }
    assert_eq!(output(python, input), expected);
}

fn sent_entries(payloads: &[Vec<u8>]) -> Vec<Bytes> {
    let entries = Arc::new(Mutex::new(Vec::new()));
    let sent = entries.clone();
    let service = tower::service_fn(move |request: PutRecordsRequest| {
        let response = PutRecordsResponse::new(
            request.entries().iter().map(|_| Ok(Placement::new("shard", "1"))).collect(),
        );
        sent.lock().unwrap().extend(request.entries().iter().map(|entry| entry.data().clone()));
        std::future::ready(Ok::<_, tower::BoxError>(response))
    });
    let builder = KinesisSink::builder("example").with_aggregation(Aggregation::PerKey);
    let mut sink = builder.build_with(service).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        for (key, payload) in payloads.iter().enumerate() {
            sink.feed(Record::from((key.to_string(), payload.clone()))).await.unwrap();
        }
        sink.close().await.unwrap();
    });
    entries.lock().unwrap().clone()
}
