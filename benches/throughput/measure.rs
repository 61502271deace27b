use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use kinesis_sink::limits::MAX_REQUEST_ENTRIES;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde::{Deserialize, Serialize};
use tokio::runtime::Builder;

use super::case::Case;
use super::load::Load;
use super::server::{STATS, Stats};
use super::variants::{self, Counts, Raw, Soak, ThroughProducer, ThroughSink, Variant};
use super::{allocations, memory};

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Job {
    pub port: u16,
    pub case: Case,
    pub record_bytes: usize,
    pub in_flight: usize,
    pub records: usize,
    /// Set to `true` to count allocations instead of measuring time.
    pub counts_allocations: bool,
}

impl Job {
    /// Returns enough records for a request on each connection, or for several requests of aggregates.
    fn warm_up_records(&self) -> usize {
        if self.case.aggregates() {
            self.records / 4
        } else {
            MAX_REQUEST_ENTRIES * self.in_flight.max(8)
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Measured {
    /// User and system CPU time of the process.
    pub cpu: Duration,
    pub wall: Duration,
    /// Requests that the server received during the measurement.
    pub server: Stats,
    pub allocations: u64,
    pub peak_rss_bytes: u64,
    /// Samples of resident memory. A soak takes one per million records.
    pub resident: Vec<u64>,
}

const SOAK_STEP: usize = 1_000_000;

/// Runs the job. One case uses two threads, and all others use one.
pub fn run(job: &Job) -> Measured {
    let mut runtime = if job.case.uses_two_threads() {
        // The sink runs in `block_on` on this thread, and its requests run on the worker thread.
        Builder::new_multi_thread()
    } else {
        Builder::new_current_thread()
    };
    let runtime = runtime.worker_threads(1).enable_all().build();
    let runtime = runtime.expect("failed to build a runtime");
    runtime.block_on(async {
        let client = variants::client(job.case, &format!("http://127.0.0.1:{}", job.port));
        let (case, in_flight) = (job.case, job.in_flight);
        let mut resident = Vec::new();
        let mut measured = match case {
            Case::Raw => measure(job, Raw::new(client, in_flight)).await,
            Case::RawCbor => measure(job, Raw::new(client, in_flight)).await,
            Case::SinkLayers => {
                measure(job, ThroughSink::with_layers(case, &client, in_flight)).await
            }
            Case::Producer
            | Case::ProducerReceipts
            | Case::ProducerSink
            | Case::SpoolAlways
            | Case::SpoolInterval
            | Case::SpoolNever
            | Case::SpoolOverflow => {
                measure(job, ThroughProducer::new(case, &client, in_flight)).await
            }
            Case::SinkSoak => {
                let sink = ThroughSink::new(case, &client, in_flight);
                measure(job, Soak(sink, |number| sample(number, &mut resident))).await
            }
            _ => measure(job, ThroughSink::new(case, &client, in_flight)).await,
        };
        // The peak that the kernel reports can differ from the largest sample by a page or two.
        let max_sample = resident.iter().copied().max().unwrap_or(0);
        measured.peak_rss_bytes = measured.peak_rss_bytes.max(max_sample);
        measured.resident = resident;
        measured
    })
}

fn sample(number: usize, resident: &mut Vec<u64>) {
    if number > 0 && number.is_multiple_of(SOAK_STEP) {
        let bytes = memory::resident();
        eprintln!("{} million records: {:.1} MiB", number / SOAK_STEP, bytes as f64 / 1_048_576.0);
        resident.push(bytes);
    }
}

async fn measure<V: Variant>(job: &Job, mut variant: V) -> Measured {
    let load = Load::new(job.record_bytes);
    // The warm-up opens the connections, grows the buffers, and fills the credentials cache.
    variant.warm_up(&load, job.warm_up_records()).await;
    let before = stats(job.port).expect("the server reports its counters");
    if job.counts_allocations {
        allocations::start();
    }
    let cpu_before = cpu();
    let start = Instant::now();
    let counts = variant.send(&load, job.records).await;
    let wall = start.elapsed();
    let cpu = cpu() - cpu_before;
    let allocations = allocations::count();
    let after = stats(job.port).expect("the server reports its counters");
    let server = Stats {
        requests: after.requests - before.requests,
        entries: after.entries - before.entries,
        bytes: after.bytes - before.bytes,
    };
    check(job, &counts, &server);
    let peak_rss_bytes = memory::max_resident();
    Measured { cpu, wall, server, allocations, peak_rss_bytes, resident: Vec::new() }
}

/// Panics if the server has not received exactly the delivered records.
fn check(job: &Job, counts: &Counts, server: &Stats) {
    assert_eq!(counts.delivered, job.records as u64, "delivered records");
    assert_eq!(counts.entries, server.entries, "entries received by the server");
    if !job.case.aggregates() {
        assert_eq!(server.entries, job.records as u64, "one entry per record");
    }
    assert!(
        server.bytes > (job.records * job.record_bytes) as u64,
        "the requests are smaller than their payloads"
    );
}

fn cpu() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("getrusage does not fail");
    let microseconds = (usage.user_time() + usage.system_time()).num_microseconds();
    Duration::from_micros(microseconds.try_into().expect("CPU time is not negative"))
}

/// Fetches the counters of the server over a separate connection.
fn stats(port: u16) -> io::Result<Stats> {
    let mut connection = TcpStream::connect(("127.0.0.1", port))?;
    write!(connection, "GET {STATS} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut response = String::new();
    connection.read_to_string(&mut response)?;
    let (_, body) = response.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(serde_json::from_str(body)?)
}
