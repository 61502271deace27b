//! Runs seeded scenarios on all processors and prints the command that replays a failed seed.

use std::env;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// Time limit for one seed, which normally takes milliseconds. A seed that takes longer counts as hung.
const HUNG_AFTER: Duration = Duration::from_secs(120);

/// Checks seeds in parallel and returns the number of seeds.
///
/// The seeds are 0 to `default` (exclusive). The environment variable `<MODULE>_SEEDS` overrides `default`, and
/// `<MODULE>_SEED` selects a single seed.
pub fn check_all(
    module: &str,
    default: u64,
    check: impl Fn(u64) -> Result<(), String> + Sync,
) -> u64 {
    let variable = |suffix| number(&format!("{}_{suffix}", module.to_uppercase()));
    let seeds = match variable("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..variable("SEEDS").unwrap_or(default),
    };
    let next = AtomicU64::new(seeds.start);
    let failures = Mutex::new(Vec::new());
    let running = Mutex::new(Vec::new());
    let work = || {
        while let Some(seed) = Some(next.fetch_add(1, Relaxed)).filter(|seed| seeds.contains(seed))
        {
            running.lock().unwrap().push((seed, Instant::now()));
            let checked = check(seed);
            running.lock().unwrap().retain(|(other, _)| *other != seed);
            if let Err(error) = checked {
                failures.lock().unwrap().push((seed, error));
            }
        }
    };
    thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        while workers.iter().any(|worker| !worker.is_finished()) {
            abort_if_hung(module, &running.lock().unwrap());
            thread::sleep(Duration::from_millis(10));
        }
    });
    let mut failures = failures.into_inner().unwrap();
    failures.sort();
    let mut report = String::new();
    for (seed, error) in &failures {
        let _ = writeln!(report, "seed {seed}: {error}\nreplay: {}\n", replay(module, *seed));
    }
    assert!(failures.is_empty(), "{report}{} of the seeds {seeds:?} failed", failures.len());
    seeds.end - seeds.start
}

fn replay(module: &str, seed: u64) -> String {
    // The replay must use the same profile, because debug assertions run only in debug builds.
    let profile = if cfg!(debug_assertions) { "" } else { " --release" };
    format!(
        "{}_SEED={seed} cargo test{profile} --test {} {module}::",
        module.to_uppercase(),
        env!("CARGO_CRATE_NAME")
    )
}

/// Aborts the process if a seed hangs, because a test cannot stop a thread that loops forever.
fn abort_if_hung(module: &str, running: &[(u64, Instant)]) {
    if let Some((seed, _)) = running.iter().find(|(_, at)| at.elapsed() > HUNG_AFTER) {
        eprintln!("seed {seed} hangs\nreplay: {}", replay(module, *seed));
        std::process::abort();
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is {text}; set it to a number")))
}
