//! Tests the router against a model. Each seed determines streams with random settings and faults, and tasks that make
//! random calls. The scenario runs on virtual time, and afterwards the model accounts for each record.
//!
//! `ROUTER_SEEDS=10000 cargo test --release --test simulation router::` runs 10,000 seeds instead of 300.
//! `ROUTER_SEED=<n>` runs a single seed.

mod check;
mod coverage;
mod faults;
mod found;
mod isolation;
mod ledger;
mod observer;
mod progress;
mod run;
mod scenario;
mod sender;
mod settings;
mod worker;

use std::sync::Mutex;
use std::time::Duration;

use fastrand::Rng;

use self::coverage::Coverage;
use crate::support::seeds;

#[test]
fn router_model_accounts_for_each_record() {
    let coverage = Mutex::new(Coverage::default());
    let count = seeds::check_all("router", 300, |seed| {
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
    for seed in 0..10 {
        let runs = [run::check(seed), run::check(seed)];
        let [one, other] = runs.map(|run| run.unwrap_or_else(|error| panic!("{seed}: {error}")));
        assert!(one.written == other.written, "seed {seed} gives different runs");
    }
}

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn one_of<T: Copy>(rng: &mut Rng, choices: &[T]) -> T {
    *rng.choice(choices).expect("the choices are not empty")
}

/// Returns `true` for one in `times` calls on average.
fn rarely(rng: &mut Rng, times: u32) -> bool {
    rng.u32(..times) == 0
}
