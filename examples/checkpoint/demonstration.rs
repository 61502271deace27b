//! Kills the forwarding process several times, and verifies that no line is lost.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use tokio::process::{Child, Command};

use crate::checkpoint::Checkpoint;
use crate::embedded::{Embedded, STREAM};
use crate::read_back::{From, ReadBack};

/// A temporary directory that is removed on drop.
struct Directory(PathBuf);

impl Directory {
    fn new() -> anyhow::Result<Self> {
        let name = format!("kinesis-sink-checkpoint-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path)
            .with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn line(number: u64) -> String {
    format!("line {number} of the demonstration")
}

pub async fn run(lines: u64, kills: u64) -> anyhow::Result<()> {
    // The shard limits slow the forwarding process down, so that it can be killed before it has sent all lines.
    let server = Embedded::start(4, true).await?;
    println!("embedded Kinesis server at {}, stream {STREAM}", server.endpoint());
    let mut read_back = ReadBack::begin(server.client(), STREAM, From::Start).await?;
    let directory = Directory::new()?;
    let file = directory.0.join("lines");
    let checkpoint = directory.0.join("checkpoint");
    let text: String = (0..lines).map(|number| line(number) + "\n").collect();
    tokio::fs::write(&file, text).await?;
    for number in 0..lines {
        read_back.expect(Bytes::from(line(number)));
    }

    for kill in 1..=kills {
        let mut process = start_forwarding(&server, &file, &checkpoint)?;
        let stored =
            wait_for_checkpoint(&mut process, &checkpoint, kill * lines / (kills + 1)).await?;
        process.kill().await?;
        println!("killed the forwarding process at checkpoint {stored}");
    }
    let status = start_forwarding(&server, &file, &checkpoint)?.wait().await?;
    anyhow::ensure!(status.success(), "the last forwarding process failed: {status}");
    let stored = Checkpoint::load(&checkpoint).await?.delivered();
    anyhow::ensure!(stored == lines, "the last checkpoint is {stored}, expected {lines}");
    let found = read_back.finish().await?;
    println!("forwarded {lines} lines in {} runs; {found}", kills + 1);
    found.ensure_complete()
}

fn start_forwarding(server: &Embedded, file: &Path, checkpoint: &Path) -> anyhow::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--file").arg(file).arg("--checkpoint").arg(checkpoint);
    command.args(["--endpoint", server.endpoint(), "--region", "us-east-1"]);
    command.env("AWS_ACCESS_KEY_ID", "local").env("AWS_SECRET_ACCESS_KEY", "local");
    command
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start the forwarding process")
}

async fn wait_for_checkpoint(
    process: &mut Child,
    checkpoint: &Path,
    lines: u64,
) -> anyhow::Result<u64> {
    loop {
        let stored = Checkpoint::load(checkpoint).await?.delivered();
        if stored >= lines {
            return Ok(stored);
        }
        if let Some(status) = process.try_wait()? {
            anyhow::bail!("the forwarding process exited: {status}");
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
