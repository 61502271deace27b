//! The process that starts and kills the children.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use fastrand::Rng;
use kinesis_sink::spool::Spool;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use crate::account::{Life, Verdict};
use crate::arguments::{Arguments, SyncMode};
use crate::embedded::Embedded;
use crate::job::{ChildSync, Job, Message, Work};
use crate::record::KEYS;
use crate::server::{self, SharedAccount};

/// Numbers that are reserved for each child, a multiple of the number of keys.
const NUMBERS_PER_LIFE: u64 = 1 << 20;
/// Bounds the run: a spool that does not open, or a producer that does not drain, must fail it.
const OPEN_TIMEOUT: Duration = Duration::from_secs(60);
const DRAIN_TIMEOUT: Duration = Duration::from_secs(300);

pub struct Supervisor {
    arguments: Arguments,
    server: Embedded,
    account: SharedAccount,
    directory: Directory,
    rng: Rng,
    most_recovered: u64,
    damaged: u64,
}

struct Directory {
    path: PathBuf,
    is_temporary: bool,
}

impl Directory {
    fn new(given: Option<&Path>) -> anyhow::Result<Self> {
        if let Some(path) = given {
            ensure!(!path.exists(), "{} exists: name a new directory", path.display());
            return Ok(Self { path: path.to_owned(), is_temporary: false });
        }
        let name = format!("kinesis-sink-spool-kill-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&path);
        Ok(Self { path, is_temporary: true })
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if self.is_temporary {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// A running child, which is killed on drop.
struct Running {
    process: Child,
    messages: Lines<BufReader<ChildStdout>>,
}

impl Supervisor {
    pub async fn run(arguments: Arguments, seed: u64) -> anyhow::Result<(Verdict, u64)> {
        let account = SharedAccount::default();
        let server = server::start(arguments.shards, seed, account.clone()).await?;
        let directory = Directory::new(arguments.spool.as_deref())?;
        let rng = Rng::with_seed(seed);
        let mut supervisor =
            Self { arguments, server, account, directory, rng, most_recovered: 0, damaged: 0 };
        let started_at = Instant::now();
        let kills = supervisor.arguments.kills;
        for life in 0..kills {
            supervisor.live_and_die(life).await.with_context(|| format!("child {life}"))?;
            if (life + 1) % 50 == 0 {
                supervisor.print_progress(life + 1, started_at);
            }
        }
        let killed_after = started_at.elapsed();
        supervisor.drain(kills).await.context("the last child")?;
        let Self { arguments, server, account, .. } = &supervisor;
        server::read_back(server.client(), arguments.ordered, account).await?;
        println!(
            "{kills} kills in {:.1} s, drained after {:.1} s; at most {} records recovered; {} damaged frames",
            killed_after.as_secs_f64(),
            started_at.elapsed().as_secs_f64(),
            supervisor.most_recovered,
            supervisor.damaged,
        );
        let verdict = account.with(|account| account.verdict(arguments.slack()));
        Ok((verdict, supervisor.damaged))
    }

    fn job(&mut self, life: Life, work: Work) -> Job {
        let sync = match self.arguments.sync {
            SyncMode::Mixed => {
                [ChildSync::Always, ChildSync::Interval, ChildSync::Never][self.rng.usize(..3)]
            }
            SyncMode::Always => ChildSync::Always,
            SyncMode::Interval => ChildSync::Interval,
            SyncMode::Never => ChildSync::Never,
        };
        Job {
            life,
            directory: self.directory.path.clone(),
            endpoint: self.server.endpoint().to_owned(),
            sync,
            ordered: self.arguments.ordered,
            work,
        }
    }

    /// Starts a child that sends, and kills it at a random time.
    async fn live_and_die(&mut self, life: Life) -> anyhow::Result<()> {
        const { assert!(NUMBERS_PER_LIFE.is_multiple_of(KEYS)) }
        let mut lifetime = self.rng.u64(..=self.arguments.max_life);
        if self.rng.u32(..10) == 0 {
            lifetime *= self.rng.u64(1..=4);
        }
        // With ordering, one record of each key is in flight, so that less can be delivered.
        let share = if self.arguments.ordered { 4 } else { 1 };
        let records = self.rng.u64(..=self.arguments.max_records / share);
        // Half of the children send at full speed and are then idle; the others send until they are killed.
        let per_task = Duration::from_millis(lifetime) / (records / KEYS + 1) as u32;
        let pause = if self.rng.bool() { Duration::ZERO } else { per_task };
        let first = u64::from(life) * NUMBERS_PER_LIFE;
        let work = Work::Send { first, records, seed: self.rng.u64(..), pause };
        let pending = self.pending()?;
        let mut child = self.start(life, work)?;
        let until = tokio::time::Instant::now() + Duration::from_millis(lifetime);
        let mut opened = None;
        loop {
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(until) => break,
                message = child.next() => match message? {
                    Some(Message::Accepted(number)) => {
                        self.account.with(|account| account.accepted(number));
                    }
                    Some(Message::Opened { recovered, damaged }) => {
                        opened = Some(recovered);
                        self.damaged += damaged;
                    }
                    Some(Message::Drained { .. }) | None => bail!("ended before it was killed"),
                }
            }
        }
        self.account.with(|account| account.killed(life, Instant::now()));
        child.process.kill().await?;
        // Messages from before the kill are still in the pipe.
        while let Some(message) = child.next().await? {
            match message {
                Message::Accepted(number) => {
                    self.account.with(|account| account.accepted(number));
                }
                Message::Opened { recovered, damaged } => {
                    opened = Some(recovered);
                    self.damaged += damaged;
                }
                Message::Drained { .. } => bail!("drained although its job is to send"),
            }
        }
        if let Some(recovered) = opened {
            self.check_recovered(pending, recovered)?;
        }
        if self.arguments.lossy {
            remove_newest_segment(&self.directory.path)?;
        }
        Ok(())
    }

    /// Starts a child that delivers everything, and waits for its exit.
    async fn drain(&mut self, life: Life) -> anyhow::Result<()> {
        let pending = self.pending()?;
        let mut child = self.start(life, Work::Drain)?;
        let opened = timeout(OPEN_TIMEOUT, child.next()).await.context("timed out opening")??;
        let Some(Message::Opened { recovered, .. }) = opened else { bail!("did not open") };
        self.check_recovered(pending, recovered)?;
        let drained =
            timeout(DRAIN_TIMEOUT, child.next()).await.context("timed out draining")??;
        let Some(Message::Drained { damaged }) = drained else { bail!("did not drain") };
        self.damaged += damaged;
        let status = child.process.wait().await?;
        ensure!(status.success(), "exited with {status}");
        let left = self.pending()?;
        ensure!(left == 0, "{left} records are left in the spool");
        Ok(())
    }

    /// Returns the number of records in the spool, which no process uses now.
    fn pending(&self) -> anyhow::Result<u64> {
        if !self.directory.path.exists() {
            return Ok(0);
        }
        Ok(Spool::at(&self.directory.path).inspect()?.records)
    }

    fn check_recovered(&mut self, pending: u64, recovered: u64) -> anyhow::Result<()> {
        ensure!(pending == recovered, "{pending} records in the spool, {recovered} recovered");
        self.most_recovered = self.most_recovered.max(recovered);
        Ok(())
    }

    fn start(&mut self, life: Life, work: Work) -> anyhow::Result<Running> {
        let job = serde_json::to_string(&self.job(life, work))?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--child", &job]).stdin(Stdio::null()).stdout(Stdio::piped());
        // The SDK would use a proxy from the environment even for the loopback interface.
        command.env("NO_PROXY", "127.0.0.1").env("no_proxy", "127.0.0.1");
        let mut process = command.kill_on_drop(true).spawn().context("cannot be started")?;
        let stdout = process.stdout.take().context("standard output is piped")?;
        Ok(Running { process, messages: BufReader::new(stdout).lines() })
    }

    fn print_progress(&self, kills: u32, started_at: Instant) {
        let verdict = self.account.with(|account| account.verdict(self.arguments.slack()));
        println!(
            "{:>5.1} s: {kills} kills, {} accepted, at most {} recovered",
            started_at.elapsed().as_secs_f64(),
            verdict.accepted,
            self.most_recovered,
        );
    }
}

impl Running {
    /// Reads the next message. Returns `None` when the child has ended. Is cancel safe.
    async fn next(&mut self) -> anyhow::Result<Option<Message>> {
        let Some(line) = self.messages.next_line().await? else { return Ok(None) };
        Ok(Some(serde_json::from_str(&line).context("invalid message")?))
    }
}

fn remove_newest_segment(directory: &Path) -> anyhow::Result<()> {
    let mut segments = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "seg") {
            segments.push(path);
        }
    }
    if let Some(newest) = segments.iter().max() {
        std::fs::remove_file(newest)?;
    }
    Ok(())
}
