//! Runs scenarios that are drawn from seeds, on all processors, and says how to replay those that fail.

use std::env;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// A seed takes milliseconds. One that takes so long never ends.
const ENDLESS: Duration = Duration::from_secs(120);

/// Checks the seeds from 0 up to `default`, or as many as `<TEST>_SEEDS` says, or the one of `<TEST>_SEED`, and
/// says how many that were.
///
/// # Panics
///
/// A seed fails. A seed that never ends aborts the process.
pub fn check_all(
    test: &str,
    default: u64,
    check: impl Fn(u64) -> Result<(), String> + Sync,
) -> u64 {
    let variable = |suffix| number(&format!("{}_{suffix}", test.to_uppercase()));
    let seeds = match variable("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..variable("SEEDS").unwrap_or(default),
    };
    let (next, failures) = (AtomicU64::new(seeds.start), Mutex::new(Vec::new()));
    let begun = Mutex::new(Vec::new());
    let work = || {
        while let Some(seed) = Some(next.fetch_add(1, Relaxed)).filter(|seed| seeds.contains(seed))
        {
            begun.lock().unwrap().push((seed, Instant::now()));
            let checked = check(seed);
            begun.lock().unwrap().retain(|(other, _)| *other != seed);
            if let Err(error) = checked {
                failures.lock().unwrap().push((seed, error));
            }
        }
    };
    thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        while workers.iter().any(|worker| !worker.is_finished()) {
            end_with_the_endless(test, &begun.lock().unwrap());
            thread::sleep(Duration::from_millis(10));
        }
    });
    let mut failures = failures.into_inner().unwrap();
    failures.sort();
    let mut told = String::new();
    for (seed, error) in &failures {
        let _ = writeln!(told, "seed {seed}: {error}\nreplay: {}\n", replay(test, *seed));
    }
    assert!(failures.is_empty(), "{told}{} of the seeds {seeds:?} failed", failures.len());
    seeds.end - seeds.start
}

fn replay(test: &str, seed: u64) -> String {
    // Of a debug build other checks can fail.
    let profile = if cfg!(debug_assertions) { "" } else { " --release" };
    format!(
        "{}_SEED={seed} cargo test{profile} --test {} {test}",
        test.to_uppercase(),
        env!("CARGO_CRATE_NAME")
    )
}

/// No test ends a loop that goes round and round. This does, with the whole process.
fn end_with_the_endless(test: &str, begun: &[(u64, Instant)]) {
    if let Some((seed, _)) = begun.iter().find(|(_, at)| at.elapsed() > ENDLESS) {
        eprintln!("seed {seed} never ends\nreplay: {}", replay(test, *seed));
        std::process::abort();
    }
}

/// The number in a variable of the environment.
fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is {text}; set it to a number")))
}
