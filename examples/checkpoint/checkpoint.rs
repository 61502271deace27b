//! A file that contains the number of delivered lines. The file is replaced atomically.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::fs::{self, File};
use tokio::io::AsyncWriteExt;

/// Minimum time between two writes of the file. Lines delivered since the last write are sent again after a crash.
const STORE_INTERVAL: Duration = Duration::from_millis(50);

pub struct Checkpoint {
    path: PathBuf,
    delivered: u64,
    stored: u64,
    stored_at: Instant,
}

impl Checkpoint {
    /// Reads the number of delivered lines from the file, or starts with 0 if the file does not exist.
    pub async fn load(path: &Path) -> anyhow::Result<Self> {
        let delivered = match fs::read_to_string(path).await {
            Ok(text) => text.trim().parse().with_context(|| {
                format!("{} is not a checkpoint: it must contain one number", path.display())
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        let stored_at = Instant::now();
        Ok(Self { path: path.to_owned(), delivered, stored: delivered, stored_at })
    }

    pub fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Counts the next line as delivered, and writes the file if the last write is old enough.
    pub async fn advance(&mut self) -> anyhow::Result<()> {
        self.delivered += 1;
        if self.stored_at.elapsed() >= STORE_INTERVAL {
            self.store().await?;
        }
        Ok(())
    }

    /// Writes the number of delivered lines to the file if the number has changed.
    pub async fn store(&mut self) -> anyhow::Result<()> {
        if self.stored != self.delivered {
            self.write().await.with_context(|| format!("cannot write {}", self.path.display()))?;
            self.stored = self.delivered;
        }
        self.stored_at = Instant::now();
        Ok(())
    }

    async fn write(&self) -> std::io::Result<()> {
        // Writes a new file and renames it, so that a crash leaves either the old or the new file.
        let mut new = self.path.clone().into_os_string();
        new.push(".new");
        let mut file = File::create(&new).await?;
        file.write_all(format!("{}\n", self.delivered).as_bytes()).await?;
        // `write_all` returns before the data is written, so a full disk is reported only by `flush`.
        file.flush().await?;
        file.sync_all().await?;
        fs::rename(&new, &self.path).await
    }
}
