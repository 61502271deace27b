//! Tests the whole sink against a model. Each seed determines a scenario with random faults and calls. The scenario
//! runs on virtual time, and afterwards the model accounts for each record.
//!
//! `MODEL_SEEDS=50000 cargo test --release --test simulation model::` runs 50,000 seeds instead of 1,000.
//! `MODEL_SEED=<n>` runs a single seed.
#![cfg(feature = "sim")]

mod corruption;
mod coverage;
mod faulty_service;
mod invariants;
mod ledger;
mod lookups;
mod observed_sink;
mod owner;
mod records;
mod request_observer;
mod run;
mod scenario;
mod stack;
mod tasks;
mod worker;

use std::sync::Mutex;

use self::coverage::Coverage;
use super::pacing::{account, events};
use crate::support::seeds;

#[test]
fn model_accounts_for_each_record() {
    let coverage = Mutex::new(Coverage::default());
    let count = seeds::check_all("model", 1_000, |seed| {
        let outcome = run::check(seed)?;
        coverage.lock().unwrap().add(&outcome.coverage);
        Ok(())
    });
    let coverage = coverage.into_inner().unwrap();
    println!("{coverage:#?}");
    assert!(count < 300 || coverage.missing().is_empty(), "not covered: {:?}", coverage.missing());
}

#[test]
fn same_seed_reproduces_run() {
    for seed in 0..20 {
        let runs = [run::check(seed), run::check(seed)];
        let [one, other] = runs.map(|run| run.unwrap_or_else(|error| panic!("{seed}: {error}")));
        assert!(one.stream.written() == other.stream.written(), "seed {seed} gives different runs");
    }
}
