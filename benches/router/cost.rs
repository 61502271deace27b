//! Measures the CPU time per record, by the number of streams.

use std::hint::black_box;

use fastrand::Rng;
use kinesis_sink::service::{Entry, PutRecordsRequest};
use kinesis_sink::{PartitionKey, Record, StreamId};
use tokio::task::unconstrained;
use tower::Service;

use super::load::{BURST, WAVE, burst, names, route, send, settings};
use super::meter::{Meter, median, on_virtual_time};
use super::service::MockService;

#[derive(Clone, Copy)]
pub struct Load {
    pub name: &'static str,
    is_zipf: bool,
    wave: usize,
}

pub const LOADS: [Load; 3] = [
    Load { name: "uniform", is_zipf: false, wave: WAVE },
    Load { name: "zipf", is_zipf: true, wave: WAVE },
    Load { name: "at_once", is_zipf: false, wave: usize::MAX },
];

#[derive(Debug, Clone, Copy)]
struct Run {
    nanoseconds: f64,
    records: f64,
    requests: f64,
    /// CPU time of the service and of the load, which is not part of the router.
    floor: f64,
}

/// Medians of several rounds.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    pub streams: usize,
    pub records_per_request: f64,
    pub ns_per_record: f64,
    /// Part of `ns_per_record` that the service and the load take.
    pub floor_ns_per_record: f64,
    pub ns_per_request: f64,
    /// Cost per record divided by that of one stream.
    pub ratio: f64,
    /// Cost per record divided by that of [`REFERENCE`] streams.
    pub growth: f64,
}

/// Number of streams with which the bound of the growth begins.
pub const REFERENCE: usize = 10;

impl Load {
    /// Returns the streams of the bursts.
    fn sequence(self, streams: usize, bursts: usize) -> Vec<usize> {
        let mut rng = Rng::with_seed(1);
        if self.is_zipf {
            let mut sum = 0.0;
            let sums: Vec<f64> = (1..=streams)
                .map(|rank| {
                    sum += 1.0 / rank as f64;
                    sum
                })
                .collect();
            let mut draw = || {
                let at = rng.f64() * sum;
                sums.partition_point(|sum| *sum <= at).min(streams - 1)
            };
            return (0..bursts).map(|_| draw()).collect();
        }
        let mut order: Vec<_> = (0..streams).collect();
        rng.shuffle(&mut order);
        order.into_iter().cycle().take(bursts).collect()
    }

    /// Returns the CPU time per record in one run, including the service.
    pub fn ns_per_record(self, streams: usize, records: usize) -> f64 {
        self.run(streams, records, 0.0).nanoseconds / records as f64
    }

    fn run(self, streams: usize, records: usize, floor: f64) -> Run {
        let names = names(streams);
        let sequence = self.sequence(streams, records / BURST);
        on_virtual_time(unconstrained(async {
            let service = MockService::default();
            let router = route(settings(streams), &service);
            let burst = burst();
            // Opens all streams.
            send(&router, &names, &burst, WAVE).await;
            router.flush().await.expect("the service delivers every record");
            let (requests, entries) = (service.requests(), service.entries());
            let meter = Meter::start();
            send(&router, sequence.iter().map(|stream| &names[*stream]), &burst, self.wave).await;
            let nanoseconds = meter.nanoseconds();
            router.flush().await.expect("the service delivers every record");
            assert_eq!(service.entries() - entries, records as u64, "each record is sent once");
            assert_eq!(router.status().open_streams, streams);
            let requests = (service.requests() - requests) as f64;
            Run { nanoseconds, records: records as f64, requests, floor: floor * requests }
        }))
    }
}

/// Returns the CPU time per request of cloning a burst of records and of the service, without a router.
fn floor(requests: usize) -> f64 {
    let entry = |record: &Record| {
        let PartitionKey::Explicit(key) = record.partition_key() else {
            unreachable!("records of a burst have keys")
        };
        Entry::new(record.data().clone(), Some(key.clone()), None)
    };
    let records = burst();
    let entries: Vec<_> = records.iter().map(entry).collect();
    let stream: StreamId = "stream".parse().expect("the name is valid");
    on_virtual_time(unconstrained(async {
        let mut service = MockService::default();
        let meter = Meter::start();
        for _ in 0..requests / WAVE {
            let mut responses = Vec::new();
            for _ in 0..WAVE {
                drop(black_box(records.clone()));
                let request = PutRecordsRequest::new(stream.clone(), entries.clone());
                responses.push(tokio::spawn(service.call(request)));
            }
            for response in responses {
                let response = response.await.expect("the service does not panic");
                drop(response.expect("the service delivers every record"));
            }
        }
        meter.nanoseconds() / (requests / WAVE * WAVE) as f64
    }))
}

impl Run {
    fn net(&self) -> f64 {
        self.nanoseconds - self.floor
    }
}

/// Measures the loads with each number of streams. The rounds are interleaved, so a disturbance affects only one of
/// them.
pub fn measure(sizes: &[usize], records: usize, rounds: usize) -> Vec<(Load, Vec<Cost>)> {
    let mut runs = LOADS.map(|load| (load, vec![Vec::new(); sizes.len()]));
    for round in 1..=rounds {
        let floor = floor(records / BURST);
        for (load, runs) in &mut runs {
            eprintln!("round {round} of {rounds}: {}", load.name);
            for (&size, runs) in sizes.iter().zip(runs) {
                runs.push(load.run(size, records, floor));
            }
        }
    }
    let costs = |runs: Vec<Vec<Run>>| {
        let reference = sizes.iter().position(|size| *size == REFERENCE);
        let reference = &runs[reference.expect("the reference is measured")];
        let cost =
            |(&size, of_size): (&usize, &Vec<Run>)| Cost::new(size, of_size, &runs[0], reference);
        sizes.iter().zip(&runs).map(cost).collect()
    };
    runs.into_iter().map(|(load, runs)| (load, costs(runs))).collect()
}

impl Cost {
    /// Each round is compared with the same round of `one` stream and of the `reference`.
    fn new(streams: usize, runs: &[Run], one: &[Run], reference: &[Run]) -> Self {
        let middle = |figure: fn(&Run) -> f64| median(runs.iter().map(figure));
        let relative =
            |base: &[Run]| median(runs.iter().zip(base).map(|(run, base)| run.net() / base.net()));
        Self {
            streams,
            records_per_request: middle(|run| run.records / run.requests),
            ns_per_record: middle(|run| run.nanoseconds / run.records),
            floor_ns_per_record: middle(|run| run.floor / run.records),
            ns_per_request: middle(|run| run.net() / run.requests),
            ratio: relative(one),
            growth: relative(reference),
        }
    }
}
