use std::fs;

pub const MIB: u64 = 1024 * 1024;

/// Returns the current resident memory in bytes, or `None` on systems other than Linux.
pub fn resident() -> Option<u64> {
    status_field("VmRSS:")
}

/// Returns the peak resident memory in bytes.
pub fn peak_resident() -> Option<u64> {
    status_field("VmHWM:").or_else(max_rss)
}

fn status_field(field: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(1024 * kib)
}

#[cfg(unix)]
fn max_rss() -> Option<u64> {
    use nix::sys::resource::{UsageWho, getrusage};

    // `ru_maxrss` is in bytes on macOS and in KiB on other systems.
    let scale = if cfg!(target_vendor = "apple") { 1 } else { 1024 };
    let max_rss = getrusage(UsageWho::RUSAGE_SELF).ok()?.max_rss();
    u64::try_from(max_rss).ok().map(|max_rss| max_rss * scale)
}

#[cfg(not(unix))]
fn max_rss() -> Option<u64> {
    None
}

/// Peak resident memory during the first minute, and after it.
#[derive(Debug, Default)]
pub struct Growth {
    first: u64,
    later: u64,
}

impl Growth {
    pub fn sample(&mut self, in_first_minute: bool, resident: u64) {
        let peak = if in_first_minute { &mut self.first } else { &mut self.later };
        *peak = resident.max(*peak);
    }

    /// Returns the growth after the first minute in bytes, or `None` if there is no later sample.
    pub fn bytes(&self) -> Option<u64> {
        (self.later > 0).then(|| self.later.saturating_sub(self.first))
    }
}
