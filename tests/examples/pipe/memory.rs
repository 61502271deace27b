//! Memory stays bounded, however much comes in.
#![cfg(target_os = "linux")]

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::Pipe;
use super::server::{Fate, Server};

const MIB: u64 = 1024 * 1024;

/// Documents that are written at once.
const BLOCK: u64 = 1_000;

const OPTIONS: [&str; 4] = ["--format", "ndjson", "--key-pointer", "/user/id"];

/// A JSON document of so many bytes, its line break among them.
fn document(number: u64, bytes: usize) -> String {
    let start = format!(r#"{{"user":{{"id":"user-{}"}},"seq":{number},"text":""#, number);
    format!("{start}{:x<1$}\"}}\n", "", bytes - start.len() - 3)
}

/// The most that was ever resident of the process, while it lives.
fn most_resident(pipe: &Pipe) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", pipe.0.id())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(1024 * kib)
}

/// Writes `blocks` of documents of so many `bytes` into the program, calls `written`, and waits for its end.
/// The most that was resident of it.
fn pass(server: &Server, blocks: u64, bytes: usize, written: impl Fn()) -> u64 {
    let mut pipe = Pipe::to(&server.endpoint, &OPTIONS);
    let block: String = (0..BLOCK).map(|number| document(number, bytes)).collect();
    let (mut input, mut most, began) = (pipe.input(), 0, Instant::now());
    for _ in 0..blocks {
        input.write_all(block.as_bytes()).unwrap();
        most = most.max(most_resident(&pipe).expect("it runs"));
    }
    drop(input);
    written();
    while pipe.0.try_wait().unwrap().is_none() {
        most = most.max(most_resident(&pipe).unwrap_or_default());
        std::thread::sleep(Duration::from_millis(5));
    }
    let took = began.elapsed().as_secs_f64();
    let ended = pipe.ended().expect(0, &[&format!("{} records delivered", BLOCK * blocks)]);
    println!("{took:.1} s, at most {:.1} MiB resident", most as f64 / MIB as f64);
    println!("{}", ended.said);
    most
}

#[test]
fn documents_use_bounded_memory() {
    let server = Server::that_keeps_nothing(|_| Fate::Taken);
    let most = pass(&server, 60, 1_000, || ());
    assert!(most < 64 * MIB, "{most} bytes");
}

/// `cargo test --release --test examples -- --ignored --nocapture a_gigabyte`
#[test]
#[ignore = "takes long, and in a debug build says little"]
fn gigabyte_uses_bounded_memory() {
    let server = Server::that_keeps_nothing(|_| Fate::Taken);
    let most = pass(&server, 5_000, 200, || ());
    assert!(most < 64 * MIB, "{most} bytes");
}

/// One in a hundred waits until everything was read: one or more in all that is read at once.
#[test]
fn retried_records_do_not_retain_input() {
    let wait = Arc::new(AtomicBool::new(true));
    let waits = wait.clone();
    let server = Server::that_keeps_nothing(move |entry| {
        match entry.key.ends_with("77") && waits.load(Ordering::Relaxed) {
            true => Fate::Fails("InternalFailure"),
            false => Fate::Taken,
        }
    });
    let most = pass(&server, 60, 1_000, || wait.store(false, Ordering::Relaxed));
    assert!(most < 64 * MIB, "{most} bytes");
}
