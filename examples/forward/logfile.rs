//! A generated log file, like that of a web service.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use fastrand::Rng;

/// A generated file that is removed on drop.
pub struct LogFile {
    path: PathBuf,
}

impl LogFile {
    /// Creates a file with `lines` structured log lines, which are the same in every run.
    pub fn generate(lines: usize) -> anyhow::Result<Self> {
        let name = format!("kinesis-sink-forward-{}.log", std::process::id());
        let path = std::env::temp_dir().join(name);
        let mut file = Self { path };
        file.write(lines).with_context(|| format!("cannot write {}", file.path.display()))?;
        Ok(file)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    fn write(&mut self, lines: usize) -> std::io::Result<()> {
        let mut out = BufWriter::new(std::fs::File::create(&self.path)?);
        let mut rng = Rng::with_seed(20_260_101);
        let mut millis = 0_u64;
        for id in 0..lines {
            millis += rng.u64(0..40);
            writeln!(out, "{}", line(&mut rng, id, millis))?;
        }
        out.flush()
    }
}

impl Drop for LogFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn line(rng: &mut Rng, id: usize, millis: u64) -> String {
    const SERVICES: [&str; 5] = ["checkout", "search", "catalogue", "session", "mail"];
    const METHODS: [&str; 4] = ["GET", "GET", "POST", "DELETE"];
    const PATHS: [&str; 5] = ["/cart", "/search", "/items", "/login", "/health"];
    let (seconds, fraction) = (millis / 1_000, millis % 1_000);
    let time = format!(
        "2026-01-01T{:02}:{:02}:{:02}.{fraction:03}Z",
        seconds / 3_600 % 24,
        seconds / 60 % 60,
        seconds % 60
    );
    let (level, status) = match rng.u32(0..1_000) {
        0..5 => ("ERROR", 503),
        5..40 => ("WARN", 404),
        _ => ("INFO", 200),
    };
    let service = rng.choice(SERVICES).unwrap_or("other");
    let method = rng.choice(METHODS).unwrap_or("GET");
    let path = rng.choice(PATHS).unwrap_or("/");
    let duration = 1.0 / (1.0 - rng.f64()).max(0.001);
    format!(
        r#"{{"time":"{time}","level":"{level}","service":"{service}","request_id":"{:016x}","seq":{id},"method":"{method}","path":"{path}/{}","status":{status},"duration_ms":{duration:.2}}}"#,
        rng.u64(..),
        rng.u32(0..10_000),
    )
}
