//! Several settings at their ends at once, drawn from a seed, while requests and entries fail.

use std::env;

use fastrand::Rng;
use kinesis_sink::limits::Limits;
use kinesis_sink::record::FailureReason;
use kinesis_sink::settings::AggregateKey;
use kinesis_sink::sim::{Faults, SimService, SimStream};
use kinesis_sink::{Aggregation, KinesisSink, RecordOrdering, SinkBuilder};

use super::setting::Setting;
use super::setting_ranges::{limits, sink_settings};
use super::workload::{produce, records, send};

const RECORDS: usize = 80;

/// Says how a case is run again, if it fails.
struct Case(u64);

impl Drop for Case {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let seed = self.0;
            eprintln!("to see it again: HOSTILE_SEED={seed} cargo test --test sink ends_drawn");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn random_settings_deliver_records() {
    run(0..100).await;
}

/// `cargo test --test sink -- --ignored ends_drawn`
#[tokio::test(start_paused = true)]
#[ignore = "takes a minute"]
async fn random_settings_deliver_over_many_seeds() {
    run(100..5_000).await;
}

/// Runs these cases, or the one that the environment names.
async fn run(seeds: std::ops::Range<u64>) {
    let seeds = match env::var("HOSTILE_SEED") {
        Ok(seed) => {
            let seed = seed.parse().expect("HOSTILE_SEED is a number");
            seed..seed + 1
        }
        Err(_) => seeds,
    };
    for seed in seeds {
        let _case = Case(seed);
        check(seed).await;
    }
}

async fn check(seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let shards = rng.usize(1..4);
    let kinesis = SimStream::builder().with_shards(shards).with_seed(seed).build().unwrap();
    let share = rng.choice([0.0, 0.0, 0.1, 0.3]).unwrap();
    let faults = Faults::default().with_throttles(share).with_internal_failures(share);
    kinesis.set_faults(faults.with_request_errors(share, "InternalFailure", 500));
    let sink = sink(&mut rng, seed, &kinesis);
    let records = records(&mut rng, RECORDS);
    let account = match rng.bool() {
        true => send(sink, &kinesis, records).await,
        false => produce(sink, &kinesis, records).await,
    };
    let settled = account.delivered + account.too_large + account.gave_up.len();
    assert_eq!(settled, RECORDS, "each of them is accounted for");
    let expected = |reason: &FailureReason| {
        matches!(
            reason,
            FailureReason::DeadlineExceeded { .. } | FailureReason::AttemptsExhausted { .. }
        )
    };
    assert!(account.gave_up.iter().all(expected), "{:?}", account.gave_up);
}

fn sink(rng: &mut Rng, seed: u64, kinesis: &SimStream) -> KinesisSink<SimService> {
    let aggregations = [Aggregation::Off, Aggregation::PerKey, Aggregation::PerShard];
    let limits = drawn(rng, limits(), Limits::default());
    let builder = KinesisSink::builder("example")
        .configure(|settings| {
            settings.seed = Some(seed);
            settings.limits = limits;
        })
        .with_aggregation(rng.choice(aggregations).unwrap())
        .configure(|settings| {
            settings.aggregate_key =
                rng.choice([AggregateKey::FirstMember, AggregateKey::Kpl]).unwrap()
        })
        .with_ordering(rng.choice([RecordOrdering::Unordered, RecordOrdering::PerKey]).unwrap())
        .with_stream_info(kinesis.clone());
    let builder = if rng.bool() {
        builder
    } else {
        builder.configure(|settings| settings.describe_stream = false)
    };
    let builder: SinkBuilder = drawn(rng, sink_settings(), builder);
    builder.build_with(kinesis.service()).unwrap()
}

/// Each of these settings at one of its ends, or left alone.
fn drawn<B>(rng: &mut Rng, settings: Vec<Setting<B>>, builder: B) -> B {
    settings.into_iter().fold(builder, |builder, Setting { ends: [low, high], .. }| {
        match rng.u32(0..5) {
            0 => low(builder),
            1 => high(builder),
            _ => builder,
        }
    })
}
