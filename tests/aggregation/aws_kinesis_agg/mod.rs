//! AWS's own library for aggregates, the PyPI package `aws-kinesis-agg`, reads what this crate writes, and the
//! other way round.
//!
//! Needs `python3` and the package, importable or in the directory that `AWS_KINESIS_AGG_PATH` names:
//!
//! ```sh
//! python3 -m pip install --target target/aws-kinesis-agg -r tests/aggregation/aws_kinesis_agg/requirements.txt
//! AWS_KINESIS_AGG_PATH=target/aws-kinesis-agg cargo test --test aggregation aws_kinesis_agg
//! ```
//!
//! Says that it is skipped where they are missing, and fails there if `REQUIRE_INTEROP` is set.

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

/// Python with the package, or `None` and a notice that is seen although the test passes.
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
    let there = python().args(["-c", import]).stderr(Stdio::null()).status();
    if there.is_ok_and(|status| status.success()) {
        let mut python = python();
        python.args(arguments);
        return Some(python);
    }
    assert!(
        std::env::var_os("REQUIRE_INTEROP").is_none(),
        "REQUIRE_INTEROP is set, and python3 or the package aws-kinesis-agg is missing"
    );
    // Not `eprintln`, which the test harness keeps to itself.
    let notice = "SKIPPED: python3 or the package aws-kinesis-agg is missing, see tests/aggregation/aws_kinesis_agg/mod.rs";
    writeln!(std::io::stderr(), "{notice}").expect("stderr is open");
    None
}

/// What the script prints when it is given `input`.
fn output(mut python: Command, input: String) -> String {
    let mut child = python.spawn().expect("it ran before");
    let mut stdin = child.stdin.take().expect("it is piped");
    // It prints before it has read everything.
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().expect("it runs");
    writer.join().expect("no panic").expect("it reads everything");
    assert!(output.status.success(), "{}", output.status);
    String::from_utf8(output.stdout).expect("it is text")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String grows");
        text
    })
}

fn bytes(hex: &str) -> Bytes {
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("it is hex");
    (0..hex.len()).step_by(2).map(byte).collect()
}

fn random_members(count: usize, rng: &mut Rng) -> Vec<Member> {
    let keys = rng.usize(1..=count);
    let hash_keys = rng.bool();
    let member = |rng: &mut Rng| {
        let length = rng.usize(1..12);
        let text: String =
            (0..length).map(|_| rng.choice(['k', '0', 'ß', '🦀']).unwrap()).collect();
        let key = if rng.bool() { rng.usize(..keys).to_string() } else { text };
        let data: Vec<u8> = (0..rng.usize(..150)).map(|_| rng.u8(..)).collect();
        let data = if rng.u32(..10) == 0 { Vec::new() } else { data };
        let member = Member::new(key, data);
        // Few places, so that they repeat, and both ends of the ring.
        let places = [0, 1, u128::MAX, rng.u128(..)];
        if hash_keys && rng.bool() {
            return member.with_explicit_hash_key(rng.choice(places).unwrap());
        }
        member
    };
    (0..count).map(|_| member(rng)).collect()
}

/// Aggregates of 1 to 2,000 members.
fn random_aggregates() -> Vec<Vec<Member>> {
    let seed = std::env::var("AGGREGATE_SEED").map_or_else(
        |_| fastrand::u64(..),
        |seed| seed.parse().expect("AGGREGATE_SEED is a number"),
    );
    println!(
        "to see it again: AGGREGATE_SEED={seed} cargo test --test aggregation aws_kinesis_agg"
    );
    let mut rng = Rng::with_seed(seed);
    let mut counts = vec![1, 1, 2, 127, 128, 129, 2_000];
    counts.extend((0..20).map(|_| rng.usize(1..300)));
    counts.iter().map(|count| random_members(*count, &mut rng)).collect()
}

/// A member as the scripts print and read it.
fn line(place: usize, hash_key: Option<String>, member: &Member) -> String {
    let key = member.partition_key().expect("it has one");
    let hash_key = hash_key.unwrap_or_default();
    format!("{place}\t{hash_key}\t{}\t{}\n", hex(key.as_bytes()), hex(member.data()))
}

#[test]
fn aws_reads_what_is_written_here() {
    let Some(python) = python(&["tests/aggregation/aws_kinesis_agg/deaggregate.py"]) else {
        return;
    };
    let (mut input, mut expected) = (String::new(), String::new());
    for (place, members) in random_aggregates().iter().enumerate() {
        writeln!(input, "{}", hex(&encode(members).expect("it is valid"))).expect("a String grows");
        // The library gives a member without a hash key the first one of the table, if there is any. The
        // KCL's own reader does not.
        let first = members.iter().find_map(Member::explicit_hash_key);
        for member in members {
            let hash_key = member.explicit_hash_key().or(first);
            expected += &line(place, hash_key.map(|hash_key| hash_key.to_string()), member);
        }
    }
    let read = output(python, input);
    for (read, expected) in read.lines().zip(expected.lines()) {
        assert_eq!(read, expected);
    }
    assert_eq!(read.lines().count(), expected.lines().count());
}

#[test]
fn what_aws_writes_is_read_here() {
    let Some(python) = python(&["tests/aggregation/aws_kinesis_agg/aggregate.py"]) else { return };
    let aggregates = random_aggregates();
    let mut input = String::new();
    for (place, members) in aggregates.iter().enumerate() {
        for member in members {
            input += &line(place, member.explicit_hash_key().map(|key| key.to_string()), member);
        }
    }
    let written = output(python, input);
    assert_eq!(written.lines().count(), aggregates.len());
    for (written, members) in written.lines().map(bytes).zip(&aggregates) {
        assert_eq!(written, encode(members).expect("it is valid"), "byte for byte");
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

/// A sink that aggregates is given payloads that begin with the format's magic, and one that is an aggregate.
#[test]
fn aws_reads_payloads_like_aggregates() {
    let Some(python) = python(&["tests/aggregation/aws_kinesis_agg/deaggregate.py"]) else {
        return;
    };
    let magic = b"\xf3\x89\x9a\xc2";
    let whole = encode(&[Member::new("k", "inner")]).expect("it is valid").to_vec();
    let payloads = [magic.to_vec(), [magic, &[0; 50][..]].concat(), whole];
    let entries = sent(&payloads);
    assert_eq!(entries.len(), payloads.len());
    let (mut input, mut expected) = (String::new(), String::new());
    for (place, (entry, payload)) in entries.iter().zip(payloads).enumerate() {
        writeln!(input, "{}", hex(entry)).expect("a String grows");
        expected += &line(place, None, &Member::new(place.to_string(), payload));
    }
    assert_eq!(output(python, input), expected);
}

/// The data of the Kinesis records that a sink makes of records with these payloads and a key each.
fn sent(payloads: &[Vec<u8>]) -> Vec<Bytes> {
    let requests = Arc::new(Mutex::new(Vec::new()));
    let noted = requests.clone();
    let service = tower::service_fn(move |request: PutRecordsRequest| {
        let answer = PutRecordsResponse::new(
            request.entries().iter().map(|_| Ok(Placement::new("shard", "1"))).collect(),
        );
        noted.lock().unwrap().extend(request.entries().iter().map(|entry| entry.data().clone()));
        std::future::ready(Ok::<_, tower::BoxError>(answer))
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
    requests.lock().unwrap().clone()
}
