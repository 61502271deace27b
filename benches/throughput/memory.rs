use std::fs;

pub fn resident() -> u64 {
    status("VmRSS:")
}

/// Returns the peak resident memory. Unlike `ru_maxrss`, it excludes the process from which this one was forked.
pub fn max_resident() -> u64 {
    status("VmHWM:")
}

fn status(field: &str) -> u64 {
    let status =
        fs::read_to_string("/proc/self/status").expect("/proc/self/status exists on Linux");
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    1024 * kib.and_then(|kib| kib.parse::<u64>().ok()).expect("the field is a number of kB")
}
