//! What this process has in memory.

use std::fs;

pub const MIB: u64 = 1024 * 1024;

/// Bytes that are resident now. Linux alone tells.
pub fn resident() -> Option<u64> {
    of("VmRSS:")
}

/// The most bytes that ever were resident.
pub fn most_resident() -> Option<u64> {
    of("VmHWM:").or_else(usage)
}

fn of(field: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(1024 * kib)
}

#[cfg(unix)]
fn usage() -> Option<u64> {
    use nix::sys::resource::{UsageWho, getrusage};

    // macOS counts bytes, the others KiB.
    let unit = if cfg!(target_vendor = "apple") { 1 } else { 1024 };
    let most = getrusage(UsageWho::RUSAGE_SELF).ok()?.max_rss();
    u64::try_from(most).ok().map(|most| most * unit)
}

#[cfg(not(unix))]
fn usage() -> Option<u64> {
    None
}

/// What was resident in the first minute and after it, sampled.
#[derive(Debug, Default)]
pub struct Growth {
    first: u64,
    later: u64,
}

impl Growth {
    pub fn sample(&mut self, in_first_minute: bool, resident: u64) {
        let most = if in_first_minute { &mut self.first } else { &mut self.later };
        *most = resident.max(*most);
    }

    /// By how much it was more later on; none if there was no later.
    pub fn bytes(&self) -> Option<u64> {
        (self.later > 0).then(|| self.later.saturating_sub(self.first))
    }
}
