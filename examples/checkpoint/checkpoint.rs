//! How many lines are delivered, in a file that is whole at every moment.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::fs::{self, File};
use tokio::io::AsyncWriteExt;

/// The time between two writes: what a kill costs at most in lines sent twice, beside those under way.
const INTERVAL: Duration = Duration::from_millis(50);

pub struct Checkpoint {
    path: PathBuf,
    delivered: u64,
    stored: u64,
    stored_at: Instant,
}

impl Checkpoint {
    /// Reads the file; no file means that nothing is delivered.
    pub async fn load(path: &Path) -> anyhow::Result<Self> {
        let delivered = match fs::read_to_string(path).await {
            Ok(text) => text.trim().parse().with_context(|| {
                format!("{} is no checkpoint: it must hold one number", path.display())
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

    /// One more line is delivered, and so are all before it.
    pub async fn advance(&mut self) -> anyhow::Result<()> {
        self.delivered += 1;
        if self.stored_at.elapsed() >= INTERVAL {
            self.store().await?;
        }
        Ok(())
    }

    /// Writes beside the file, then puts that in its place: a kill leaves the old one or the new one.
    pub async fn store(&mut self) -> anyhow::Result<()> {
        if self.stored != self.delivered {
            self.write().await.with_context(|| format!("cannot write {}", self.path.display()))?;
            self.stored = self.delivered;
        }
        self.stored_at = Instant::now();
        Ok(())
    }

    async fn write(&self) -> std::io::Result<()> {
        let mut new = self.path.clone().into_os_string();
        new.push(".new");
        let mut file = File::create(&new).await?;
        file.write_all(format!("{}\n", self.delivered).as_bytes()).await?;
        // Without this an error of the write, such as a full disk, would not be told.
        file.flush().await?;
        file.sync_all().await?;
        fs::rename(&new, &self.path).await
    }
}
