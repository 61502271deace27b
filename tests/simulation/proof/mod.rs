//! The account of every record, whatever the stream, the way to it and the caller do: scenarios drawn from
//! seeds, on virtual time.
//!
//! `PROOF_SEEDS=50000 cargo test --release --test simulation every_record` tries more of them than the default of
//! 1,000; `PROOF_SEED=<n>` replays one. A part of them speaks CBOR.
#![cfg(feature = "sim")]

mod breaking;
mod check;
mod damage;
mod drawn;

mod ledger;
mod lookups;
mod observed;
mod owner;
mod records;
mod run;
mod seen;
mod stack;
mod tasks;
mod witness;
mod worker;

use std::sync::Mutex;

use self::seen::Seen;
use super::pacing::{account, events};
use crate::support::seeds;

#[test]
fn every_record_is_accounted_for() {
    let seen = Mutex::new(Seen::default());
    let count = seeds::check_all("proof", 1_000, |seed| {
        let outcome = run::check(seed)?;
        seen.lock().unwrap().add(&outcome.seen);
        Ok(())
    });
    let seen = seen.into_inner().unwrap();
    println!("{seen:#?}");
    assert!(count < 300 || seen.missing().is_empty(), "never met: {:?}", seen.missing());
}

#[test]
fn a_seed_always_gives_the_same_run() {
    for seed in 0..20 {
        let runs = [run::check(seed), run::check(seed)];
        let [one, other] = runs.map(|run| run.unwrap_or_else(|error| panic!("{seed}: {error}")));
        assert!(one.stream.written() == other.stream.written(), "the seed {seed} gives two runs");
    }
}
