//! Tests of how the example `spool_kill` accounts for records, and which failures it detects.

#[path = "../../../examples/spool_kill/account.rs"]
mod ledger;
#[allow(dead_code, reason = "records are sent only by the example")]
#[path = "../../../examples/spool_kill/record.rs"]
mod record;

use std::time::{Duration, Instant};

use ledger::{ACK_INTERVAL, Account, Verdict};
use record::{KEYS, data, key, number};

const SLACK: Duration = Duration::from_millis(50);
const LATEST: Duration = Duration::from_millis(150);

/// An account of one child that was killed `LATEST` and `extra` after the response for its only record.
fn killed_after(extra: Duration) -> Account {
    let mut account = Account::default();
    let responded_at = Instant::now();
    account.accepted(7);
    account.written(7, 0, Some(responded_at));
    account.killed(0, responded_at + LATEST + extra);
    account.found(Some(7), true, None);
    account
}

fn write_again(account: &mut Account, life: u32) {
    account.written(7, life, Some(Instant::now()));
    account.found(Some(7), true, None);
}

#[test]
fn missing_accepted_record_counts_as_lost() {
    let mut account = killed_after(Duration::ZERO);
    let verdict = account.verdict(SLACK);
    assert_eq!(verdict, Verdict { accepted: 1, delivered: 1, ..Verdict::default() });
    assert!(verdict.holds());
    account.accepted(8);
    let verdict = account.verdict(SLACK);
    assert_eq!((verdict.accepted, verdict.delivered, verdict.lost), (2, 1, 1));
    assert!(!verdict.holds());
    assert!(verdict.to_string().starts_with("2 accepted, 1 delivered, 1 lost, 0 duplicated\n"));
    assert!(!Account::default().verdict(SLACK).holds(), "a run without records proves nothing");
}

#[test]
fn kill_explains_duplicates_within_its_bound() {
    assert_eq!(ACK_INTERVAL + SLACK, LATEST);
    let mut account = killed_after(Duration::ZERO);
    write_again(&mut account, 1);
    let verdict = account.verdict(SLACK);
    assert_eq!((verdict.duplicated, verdict.unexplained, verdict.most_by_one_kill), (1, 0, 1));
    assert_eq!(verdict.longest, LATEST);
    assert!(verdict.holds());

    // The request of the first child is processed last.
    let mut account = Account::default();
    account.accepted(7);
    for life in [1, 0] {
        account.written(7, life, Some(Instant::now()));
        account.found(Some(7), true, None);
    }
    account.killed(0, Instant::now());
    assert!(account.verdict(SLACK).holds());

    let mut account = killed_after(Duration::from_millis(1));
    write_again(&mut account, 1);
    assert_eq!(account.verdict(SLACK).unexplained, 1, "the kill was too late");
    assert!(!account.verdict(SLACK).holds());

    let mut account = killed_after(Duration::ZERO);
    write_again(&mut account, 0);
    assert_eq!(account.verdict(SLACK).unexplained, 1, "no kill in between");

    let mut account = killed_after(Duration::ZERO);
    write_again(&mut account, 1);
    write_again(&mut account, 2);
    assert_eq!(account.verdict(SLACK).unexplained, 1, "the second child was not killed");
}

#[test]
fn lost_response_explains_duplicate() {
    let mut account = Account::default();
    account.accepted(7);
    account.written(7, 0, None);
    account.killed(0, Instant::now());
    account.found(Some(7), true, None);
    write_again(&mut account, 3);
    assert!(account.verdict(Duration::ZERO).holds());
}

#[test]
fn wrong_contents_of_stream_are_detected() {
    let complete = || killed_after(Duration::ZERO);
    let mut account = complete();
    account.found(None, true, None);
    assert_eq!(account.verdict(SLACK).damaged, 1);
    assert!(!account.verdict(SLACK).holds());

    let mut account = complete();
    account.found(Some(9), true, None);
    let verdict = account.verdict(SLACK);
    assert_eq!((verdict.unreported, verdict.miscounted), (1, 1), "without a write");
    assert!(!verdict.holds());

    let mut account = Account::default();
    account.accepted(1);
    account.written(1, 0, Some(Instant::now()));
    account.found(Some(1), false, None);
    assert_eq!(account.verdict(SLACK).wrong_key, 1);
    assert!(!account.verdict(SLACK).holds());
}

#[test]
fn first_copies_of_key_must_be_in_order() {
    let found = |numbers: &[(u64, &str)]| {
        let mut account = Account::default();
        for (number, key) in numbers {
            account.found(Some(*number), true, Some(key));
        }
        account.verdict(SLACK).out_of_order
    };
    assert_eq!(found(&[(1, "a"), (3, "a"), (2, "b"), (4, "b")]), 0);
    assert_eq!(found(&[(1, "a"), (3, "a"), (1, "a"), (3, "a"), (5, "a")]), 0, "repeated in order");
    assert_eq!(found(&[(3, "a"), (1, "a")]), 1);
}

#[test]
fn damaged_record_has_no_number() {
    for expected in [0, 1, 255, 256, 1 << 40] {
        let mut found = data(expected).to_vec();
        assert_eq!(number(&found), Some(expected));
        let last = found.len() - 1;
        found[last] ^= 1;
        assert_eq!(number(&found), None);
    }
    assert_eq!(number(&[0; 3]), None);
    assert_eq!(key(KEYS + 5, true).as_deref(), Some("key 5"));
}
