use std::env;
use std::io::{self, BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};

use super::measure::{Job, Measured};

pub const SERVE: &str = "--serve";
pub const MEASURE: &str = "--measure";

fn this_executable() -> io::Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    // The SDK would use a proxy from the environment even for the loopback interface.
    command.env("NO_PROXY", "127.0.0.1").env("no_proxy", "127.0.0.1");
    Ok(command)
}

/// A server process. It exits when its standard input is closed, so it does not outlive this process.
pub struct Server {
    process: Child,
    port: u16,
}

impl Server {
    pub fn start(round_trip: Duration) -> anyhow::Result<Self> {
        let mut process = this_executable()?
            .args([SERVE, &round_trip.as_millis().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let stdout = process.stdout.take().context("standard output is piped")?;
        BufReader::new(stdout).read_line(&mut line)?;
        let port = line.trim().parse().context("the server printed no port")?;
        Ok(Self { process, port })
    }

    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

pub fn measure(job: &Job) -> anyhow::Result<Measured> {
    let output = this_executable()?
        .args([MEASURE, &serde_json::to_string(job)?])
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(output.status.success(), "{job:?} failed");
    serde_json::from_slice(&output.stdout).context("failed to parse the figures of the client")
}
