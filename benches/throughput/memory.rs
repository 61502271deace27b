//! What this process has in memory, as Linux tells it.

use std::fs;

/// Bytes that are resident now.
pub fn resident() -> u64 {
    of("VmRSS:")
}

/// The most bytes that ever were. Unlike `ru_maxrss` it does not count the process that this one was forked
/// from.
pub fn most_resident() -> u64 {
    of("VmHWM:")
}

fn of(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("this bench needs Linux");
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    1024 * kib.and_then(|kib| kib.parse::<u64>().ok()).expect("it is a number of kB")
}
