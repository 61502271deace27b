//! One case, measured in a process of its own.

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
use super::way::{self, Raw, Soak, ThroughProducer, ThroughSink, Told, Way};
use super::{allocations, memory};

/// What such a process is told.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Job {
    pub port: u16,
    pub case: Case,
    pub record_bytes: usize,
    pub in_flight: usize,
    pub records: usize,
    /// Counts allocations. Such a run is not timed.
    pub counts_allocations: bool,
}

impl Job {
    /// A request in every slot, and some more of few slots; of aggregates some full requests.
    fn warm_up(&self) -> usize {
        match self.case.aggregates() {
            true => self.records / 4,
            false => MAX_REQUEST_ENTRIES * self.in_flight.max(8),
        }
    }
}

/// What it answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Measured {
    /// User and system, of the whole process.
    pub cpu: Duration,
    pub wall: Duration,
    /// What the server was sent meanwhile.
    pub server: Stats,
    pub allocations: u64,
    pub peak_rss_bytes: u64,
    /// Of a soak: one sample for each million records.
    pub resident: Vec<u64>,
}

/// Between two samples of a soak.
const SOAK_STEP: usize = 1_000_000;

/// Does the job on a runtime of one thread, but for the case that is about more.
///
/// # Panics
///
/// The server was sent other records than these, or refuses them.
pub fn run(job: &Job) -> Measured {
    let mut runtime = match job.case.on_two_threads() {
        // What is blocked on runs on this thread, what it spawns on the other.
        true => Builder::new_multi_thread(),
        false => Builder::new_current_thread(),
    };
    let runtime = runtime.worker_threads(1).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let client = way::client(job.case, &format!("http://127.0.0.1:{}", job.port));
        let (case, in_flight) = (job.case, job.in_flight);
        let mut resident = Vec::new();
        let mut measured = match case {
            Case::Raw => measured(job, Raw::new(client, in_flight)).await,
            Case::RawCbor => measured(job, Raw::new(client, in_flight)).await,
            Case::SinkLayers => {
                measured(job, ThroughSink::with_layers(case, &client, in_flight)).await
            }
            Case::Producer | Case::ProducerReceipts => {
                measured(job, ThroughProducer::new(case, &client, in_flight)).await
            }
            Case::SinkSoak => {
                let sink = ThroughSink::new(case, &client, in_flight);
                measured(job, Soak(sink, |number| sample(number, &mut resident))).await
            }
            _ => measured(job, ThroughSink::new(case, &client, in_flight)).await,
        };
        // The kernel counts the two in different ways, and a page or two apart.
        let most_sampled = resident.iter().copied().max().unwrap_or(0);
        measured.peak_rss_bytes = measured.peak_rss_bytes.max(most_sampled);
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

async fn measured<W: Way>(job: &Job, mut way: W) -> Measured {
    let load = Load::new(job.record_bytes);
    // Every slot has sent a request: connections are open, buffers have grown, credentials are cached.
    way.warm_up(&load, job.warm_up()).await;
    let before = stats(job.port).expect("the server tells");
    if job.counts_allocations {
        allocations::start_to_count();
    }
    let (began, cpu_before) = (Instant::now(), cpu());
    let told = way.send(&load, job.records).await;
    let (cpu, wall) = (cpu() - cpu_before, began.elapsed());
    let allocations = allocations::counted();
    let after = stats(job.port).expect("the server tells");
    let server = Stats {
        requests: after.requests - before.requests,
        entries: after.entries - before.entries,
        bytes: after.bytes - before.bytes,
    };
    check(job, &told, &server);
    let peak_rss_bytes = memory::most_resident();
    Measured { cpu, wall, server, allocations, peak_rss_bytes, resident: Vec::new() }
}

/// A figure of records that never arrived would be a good one.
fn check(job: &Job, told: &Told, server: &Stats) {
    assert_eq!(told.delivered, job.records as u64, "records are delivered");
    assert_eq!(told.entries, server.entries, "entries came to the server");
    if !job.case.aggregates() {
        assert_eq!(server.entries, job.records as u64, "each record is an entry");
    }
    assert!(server.bytes > (job.records * job.record_bytes) as u64, "all payloads were sent");
}

fn cpu() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("it can always be asked");
    let microseconds = (usage.user_time() + usage.system_time()).num_microseconds();
    Duration::from_micros(microseconds.try_into().expect("time is not negative"))
}

/// Asked without the client that is measured.
fn stats(port: u16) -> io::Result<Stats> {
    let mut connection = TcpStream::connect(("127.0.0.1", port))?;
    write!(connection, "GET {STATS} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(serde_json::from_str(body)?)
}
