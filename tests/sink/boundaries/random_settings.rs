//! Tests of random combinations of minimum and maximum settings while requests and entries fail.

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

struct ReplayOnPanic(u64);

impl Drop for ReplayOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let seed = self.0;
            eprintln!("replay: RANDOM_SETTINGS_SEED={seed} cargo test --test sink random_settings");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn random_settings_deliver_records() {
    run(0..100).await;
}

/// Run with `cargo test --test sink -- --ignored random_settings`.
#[tokio::test(start_paused = true)]
#[ignore = "takes a minute"]
async fn random_settings_deliver_over_many_seeds() {
    run(100..5_000).await;
}

/// Checks each seed in `seeds`. If `RANDOM_SETTINGS_SEED` is set, checks only that seed.
async fn run(seeds: std::ops::Range<u64>) {
    let seeds = match env::var("RANDOM_SETTINGS_SEED") {
        Ok(seed) => {
            let seed = seed.parse().expect("RANDOM_SETTINGS_SEED should be a number");
            seed..seed + 1
        }
        Err(_) => seeds,
    };
    for seed in seeds {
        let _replay = ReplayOnPanic(seed);
        check(seed).await;
    }
}

async fn check(seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let shards = rng.usize(1..4);
    let kinesis = SimStream::builder().with_shards(shards).with_seed(seed).build().unwrap();
    let rate = rng.choice([0.0, 0.0, 0.1, 0.3]).unwrap();
    let faults = Faults::default().with_throttles(rate).with_internal_failures(rate);
    kinesis.set_faults(faults.with_request_errors(rate, "InternalFailure", 500));
    let sink = sink(&mut rng, seed, &kinesis);
    let records = records(&mut rng, RECORDS);
    let outcomes = if rng.bool() {
        send(sink, &kinesis, records).await
    } else {
        produce(sink, &kinesis, records).await
    };
    let settled = outcomes.delivered + outcomes.too_large + outcomes.failed.len();
    assert_eq!(settled, RECORDS, "unsettled records");
    let expected = |reason: &FailureReason| {
        matches!(
            reason,
            FailureReason::DeadlineExceeded { .. } | FailureReason::AttemptsExhausted { .. }
        )
    };
    assert!(outcomes.failed.iter().all(expected), "{:?}", outcomes.failed);
}

fn sink(rng: &mut Rng, seed: u64, kinesis: &SimStream) -> KinesisSink<SimService> {
    let aggregations = [Aggregation::Off, Aggregation::PerKey, Aggregation::PerShard];
    let limits = randomize(rng, limits(), Limits::default());
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
    let builder: SinkBuilder = randomize(rng, sink_settings(), builder);
    builder.build_with(kinesis.service()).unwrap()
}

fn randomize<B>(rng: &mut Rng, settings: Vec<Setting<B>>, builder: B) -> B {
    settings.into_iter().fold(builder, |builder, Setting { bounds: [low, high], .. }| {
        match rng.u32(0..5) {
            0 => low(builder),
            1 => high(builder),
            _ => builder,
        }
    })
}
