//! Kills the process that forwards, again and again, and looks for every line in the end.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use tokio::process::{Child, Command};

use crate::checkpoint::Checkpoint;
use crate::embedded::{Embedded, STREAM};
use crate::read_back::{From, ReadBack};

/// A directory of this process. Dropping it removes it.
struct Directory(PathBuf);

impl Directory {
    fn new() -> anyhow::Result<Self> {
        let name = format!("kinesis-sink-checkpoint-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path)
            .with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Nothing can be done about a directory that is gone already.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn line(number: u64) -> String {
    format!("line {number} of the demonstration")
}

pub async fn run(lines: u64, kills: u64) -> anyhow::Result<()> {
    // Shards that take 1,000 records a second give the time to kill.
    let server = Embedded::start(4, true).await?;
    println!("embedded Kinesis server at {}, stream {STREAM}", server.endpoint());
    let mut read_back = ReadBack::begin(server.client(), STREAM, From::Start).await?;
    let directory = Directory::new()?;
    let (file, checkpoint) = (directory.0.join("lines"), directory.0.join("checkpoint"));
    let text: String = (0..lines).map(|number| line(number) + "\n").collect();
    tokio::fs::write(&file, text).await?;
    (0..lines).for_each(|number| read_back.expect(Bytes::from(line(number))));

    for kill in 1..=kills {
        let mut process = forward(&server, &file, &checkpoint)?;
        let stored = wait_for(&mut process, &checkpoint, kill * lines / (kills + 1)).await?;
        process.kill().await?;
        println!("killed the forwarding process when {stored} lines were stored as delivered");
    }
    let status = forward(&server, &file, &checkpoint)?.wait().await?;
    anyhow::ensure!(status.success(), "the last process ended with {status}");
    let stored = Checkpoint::load(&checkpoint).await?.delivered();
    anyhow::ensure!(stored == lines, "{stored} of {lines} lines are stored as delivered");
    let found = read_back.finish().await?;
    println!(
        "forwarded {lines} lines in {} runs; read back {}, {} missing, {} duplicated",
        kills + 1,
        found.records,
        found.missing,
        found.duplicated
    );
    anyhow::ensure!(found.missing == 0, "{} lines are missing in the stream", found.missing);
    Ok(())
}

/// This program, in a process of its own, with the work to do.
fn forward(server: &Embedded, file: &Path, checkpoint: &Path) -> anyhow::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--file").arg(file).arg("--checkpoint").arg(checkpoint);
    command.args(["--endpoint", server.endpoint(), "--region", "us-east-1"]);
    command.env("AWS_ACCESS_KEY_ID", "local").env("AWS_SECRET_ACCESS_KEY", "local");
    command
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start this program again")
}

/// Waits until so many lines are stored as delivered, and returns how many are.
async fn wait_for(process: &mut Child, checkpoint: &Path, lines: u64) -> anyhow::Result<u64> {
    loop {
        let stored = Checkpoint::load(checkpoint).await?.delivered();
        if stored >= lines {
            return Ok(stored);
        }
        if let Some(status) = process.try_wait()? {
            anyhow::bail!("the forwarding process ended by itself, with {status}");
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
