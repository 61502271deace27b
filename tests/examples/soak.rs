//! The soak example: its account, and that it notices what it looks for.
#![cfg(feature = "aws-config")]

#[path = "../../examples/soak/account.rs"]
mod account;
#[allow(dead_code, reason = "only its growth can be told without a run")]
#[path = "../../examples/soak/memory.rs"]
mod memory;
#[path = "../../examples/soak/payload.rs"]
mod payload;

use account::{Account, Counts, Missing};
use memory::Growth;
use payload::{claimed_number, number, payload};

use crate::support::example_program;

/// An account with this many records, all accepted.
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
fn confirmed_record_not_found_is_lost() {
    let mut account = with_accepted(3);
    (0..3).for_each(|number| account.delivered(number));
    account.found(Some(0));
    assert_eq!(account.check_missing().lost, 0, "it may not have been read yet");
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
    // In the stream, but its sender does not know.
    account.found(Some(2));
    assert_eq!(account.check_missing().pending, 2);
    let counts = Counts { accepted: 4, delivered: 1, returned: 1, ..Counts::default() };
    assert_eq!(account.counts(), counts);
}

#[test]
fn copies_and_damage_are_counted() {
    let mut account = with_accepted(2);
    (0..3).for_each(|_| account.found(Some(0)));
    account.found(Some(2));
    account.found(None);
    let counts =
        Counts { accepted: 2, duplicated: 2, unexplained: 2, damaged: 2, ..Counts::default() };
    assert_eq!(account.counts(), counts);
}

#[test]
fn unknown_outcome_explains_copy() {
    let mut account = with_accepted(2);
    // Far more than are counted change nothing of what else is known.
    (0..20).for_each(|_| account.may_have_been_written(0));
    (0..2).for_each(|_| account.may_have_been_written(1));
    for (copies, unexplained) in [(2, 0), (0, 1)] {
        (0..2).for_each(|number| account.found(Some(number)));
        (0..copies).for_each(|_| account.found(Some(1)));
        assert_eq!(account.counts().unexplained, unexplained);
    }
    assert_eq!(account.check_missing(), Missing { lost: 0, pending: 2 });
}

#[test]
fn account_uses_one_byte_per_record() {
    let mut account = with_accepted(200_000);
    account.delivered(199_999);
    (0..2).for_each(|_| account.found(Some(0)));
    assert_eq!((account.check_missing().lost, account.check_missing().lost), (0, 1), "on any page");
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
    [50, 90, 70].into_iter().for_each(|resident| growth.sample(true, resident));
    assert_eq!(growth.bytes(), None, "there is nothing to compare with");
    growth.sample(false, 80);
    assert_eq!(growth.bytes(), Some(0));
    [100, 85].into_iter().for_each(|resident| growth.sample(false, resident));
    assert_eq!(growth.bytes(), Some(10));
}

/// Runs the example for a few seconds. Its exit status, and what it said.
fn soak(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = example_program::example("soak");
    command.args(["--seconds", "3", "--seed", "3", "--shards", "2", "--tasks", "8"]);
    let output = command.args(arguments).output().expect("the example is built");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

#[test]
fn short_run_loses_no_record() {
    let (status, said) = soak(&[]);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains(" 0 lost, 0 damaged") && said.ends_with("no record lost\n"), "{said}");
}

#[test]
fn lossy_stream_fails_run() {
    let (status, said) = soak(&["--lossy", "--window", "30"]);
    assert_eq!(status, Some(3), "{said}");
    assert!(!said.contains(" 0 lost, 0 damaged"), "{said}");
}

#[test]
fn exceeded_memory_limit_fails_run() {
    if !std::path::Path::new("/proc/self/status").exists() {
        return; // Elsewhere the peak may not be known.
    }
    let (status, said) = soak(&["--max-rss-mib", "10"]);
    assert_eq!(status, Some(4), "{said}");
    assert!(said.contains("memory limit exceeded"), "{said}");
}
