use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// Directory of a spool, which is removed on drop.
pub struct Directory(PathBuf);

impl Directory {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("kinesis-sink-bench-spool-{}-{count}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    pub fn path(&self) -> PathBuf {
        self.0.clone()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
