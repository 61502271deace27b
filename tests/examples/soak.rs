//! Tests of how the example `soak` accounts for records, and which failures it detects.
#![cfg(feature = "aws-config")]

#[path = "../../examples/soak/account.rs"]
mod account;
#[allow(dead_code, reason = "only `Growth` can be tested without a run")]
#[path = "../../examples/soak/memory.rs"]
mod memory;
#[path = "../../examples/soak/payload.rs"]
mod payload;

use account::{Account, Counts, Missing};
use memory::Growth;
use payload::{claimed_number, number, payload};

use crate::support::example_program;

fn with_accepted(records: u64) -> Account {
    let mut account = Account::default();
    for expected in 0..records {
        let number = account.issue();
        assert_eq!(number, expected);
        account.accepted(number);
    }
    account
}

#[test]
fn missing_confirmed_record_counts_as_lost() {
    let mut account = with_accepted(3);
    for number in 0..3 {
        account.delivered(number);
    }
    account.found(Some(0));
    assert_eq!(account.check_missing().lost, 0, "the first missing check allows for late reads");
    account.found(Some(1));
    assert_eq!(account.check_missing(), Missing { lost: 1, pending: 0 });
    account.found(Some(2));
    assert_eq!(account.check_missing(), Missing::default());
}

#[test]
fn unconfirmed_record_is_pending() {
    let mut account = with_accepted(4);
    account.delivered(0);
    account.returned(1);
    // Record 2 is in the stream, but the sender has not received a confirmation yet.
    account.found(Some(2));
    assert_eq!(account.check_missing().pending, 2);
    let counts = Counts { accepted: 4, delivered: 1, returned: 1, ..Counts::default() };
    assert_eq!(account.counts(), counts);
}

#[test]
fn duplicates_and_damage_are_counted() {
    let mut account = with_accepted(2);
    for _ in 0..3 {
        account.found(Some(0));
    }
    account.found(Some(2));
    account.found(None);
    let counts =
        Counts { accepted: 2, duplicated: 2, unexplained: 2, damaged: 2, ..Counts::default() };
    assert_eq!(account.counts(), counts);
}

#[test]
fn unknown_outcome_explains_duplicate() {
    let mut account = with_accepted(2);
    // The count of unknown outcomes must saturate instead of overflowing into other state.
    for _ in 0..20 {
        account.may_have_been_written(0);
    }
    for _ in 0..2 {
        account.may_have_been_written(1);
    }
    for (copies, unexplained) in [(2, 0), (0, 1)] {
        for number in 0..2 {
            account.found(Some(number));
        }
        for _ in 0..copies {
            account.found(Some(1));
        }
        assert_eq!(account.counts().unexplained, unexplained);
    }
    assert_eq!(account.check_missing(), Missing { lost: 0, pending: 2 });
}

#[test]
fn account_uses_one_byte_per_record() {
    let mut account = with_accepted(200_000);
    account.delivered(199_999);
    for _ in 0..2 {
        account.found(Some(0));
    }
    assert_eq!(
        (account.check_missing().lost, account.check_missing().lost),
        (0, 1),
        "lost records are found on all pages"
    );
    assert_eq!(account.counts().duplicated, 1);
    assert!((200_000..300_000).contains(&account.bytes()), "{}", account.bytes());
}

#[test]
fn damaged_payload_has_no_number() {
    for expected in 0..100 {
        let mut data = payload(expected).to_vec();
        assert_eq!((number(&data), claimed_number(&data)), (Some(expected), Some(expected)));
        data[expected as usize % 8] ^= 1;
        assert_eq!(number(&data), None);
    }
    assert_eq!(number(&payload(7)[..4]), None);
}

#[test]
fn growth_compares_peak_with_first_minute() {
    let mut growth = Growth::default();
    for resident in [50, 90, 70] {
        growth.sample(true, resident);
    }
    assert_eq!(growth.bytes(), None, "no sample after the first minute");
    growth.sample(false, 80);
    assert_eq!(growth.bytes(), Some(0));
    for resident in [100, 85] {
        growth.sample(false, resident);
    }
    assert_eq!(growth.bytes(), Some(10));
}

fn soak(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = example_program::example("soak");
    command.args(["--seconds", "3", "--seed", "3", "--shards", "2", "--tasks", "8"]);
    let output = command.args(arguments).output().expect("the example is built");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[test]
fn short_run_does_not_lose_records() {
    let (status, output) = soak(&[]);
    assert_eq!(status, Some(0), "{output}");
    assert!(
        output.contains(" 0 lost, 0 damaged") && output.ends_with("no record lost\n"),
        "{output}"
    );
}

#[test]
fn lossy_stream_fails_run() {
    let (status, output) = soak(&["--lossy", "--window", "30"]);
    assert_eq!(status, Some(3), "{output}");
    assert!(!output.contains(" 0 lost, 0 damaged"), "{output}");
}

#[test]
fn exceeded_memory_limit_fails_run() {
    if !std::path::Path::new("/proc/self/status").exists() {
        return; // Other systems might not report the peak.
    }
    let (status, output) = soak(&["--max-rss-mib", "10"]);
    assert_eq!(status, Some(4), "{output}");
    assert!(output.contains("memory limit exceeded"), "{output}");
}
