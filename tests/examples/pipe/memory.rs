//! Tests that `pipe` uses bounded memory for large inputs.
#![cfg(target_os = "linux")]

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::Pipe;
use super::server::{EntryOutcome, Server};

const MIB: u64 = 1024 * 1024;

const BLOCK_DOCUMENTS: u64 = 1_000;

const OPTIONS: [&str; 4] = ["--format", "ndjson", "--key-pointer", "/user/id"];

fn document(number: u64, bytes: usize) -> String {
    let start = format!(r#"{{"user":{{"id":"user-{}"}},"seq":{number},"text":""#, number);
    format!("{start}{:x<1$}\"}}\n", "", bytes - start.len() - 3)
}

/// Returns the peak resident memory of the program in bytes, or `None` after it has exited.
fn peak_resident(pipe: &Pipe) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", pipe.0.id())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(1024 * kib)
}

/// Calls `written` after the last block, and returns the peak resident memory in bytes.
fn pipe_documents(server: &Server, blocks: u64, bytes: usize, written: impl Fn()) -> u64 {
    let mut pipe = Pipe::to(&server.endpoint, &OPTIONS);
    let block: String = (0..BLOCK_DOCUMENTS).map(|number| document(number, bytes)).collect();
    let mut input = pipe.input();
    let mut peak = 0;
    let start = Instant::now();
    for _ in 0..blocks {
        input.write_all(block.as_bytes()).unwrap();
        peak = peak.max(peak_resident(&pipe).expect("the program is running"));
    }
    drop(input);
    written();
    while pipe.0.try_wait().unwrap().is_none() {
        peak = peak.max(peak_resident(&pipe).unwrap_or_default());
        std::thread::sleep(Duration::from_millis(5));
    }
    let seconds = start.elapsed().as_secs_f64();
    let exit = pipe.wait().expect(0, &[&format!("{} records delivered", BLOCK_DOCUMENTS * blocks)]);
    println!("{seconds:.1} s, peak of {:.1} MiB resident", peak as f64 / MIB as f64);
    println!("{}", exit.stderr);
    peak
}

#[test]
fn documents_use_bounded_memory() {
    let server = Server::without_history(|_| EntryOutcome::Delivered);
    let peak = pipe_documents(&server, 60, 1_000, || ());
    assert!(peak < 64 * MIB, "peak of {peak} bytes");
}

/// To run this test, use `cargo test --release --test examples -- --ignored --nocapture gigabyte`.
#[test]
#[ignore = "slow, and meaningful only in a release build"]
fn gigabyte_uses_bounded_memory() {
    let server = Server::without_history(|_| EntryOutcome::Delivered);
    let peak = pipe_documents(&server, 5_000, 200, || ());
    assert!(peak < 64 * MIB, "peak of {peak} bytes");
}

/// Retries one record in a hundred until the program has read all input, so that each block contains a retried record.
#[test]
fn retried_records_do_not_retain_input() {
    let fails = Arc::new(AtomicBool::new(true));
    let server_fails = fails.clone();
    let server = Server::without_history(move |entry| {
        if entry.key.ends_with("77") && server_fails.load(Ordering::Relaxed) {
            EntryOutcome::Failed("InternalFailure")
        } else {
            EntryOutcome::Delivered
        }
    });
    let peak = pipe_documents(&server, 60, 1_000, || fails.store(false, Ordering::Relaxed));
    assert!(peak < 64 * MIB, "peak of {peak} bytes");
}
