//! Tests that run the example `pipe` as a program.
#![cfg(feature = "aws-config")]

mod dead_letters;
mod failures;
mod formats;
mod memory;
mod options;
mod server;
mod shutdown;
mod spool;
mod spool_permissions;

use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::example_program;

const TIMEOUT: Duration = Duration::from_secs(60);

/// Running program, which is killed on drop.
struct Pipe(Child);

#[derive(Debug)]
struct Exit {
    status: Option<i32>,
    stderr: String,
}

impl Pipe {
    fn to(endpoint: &str, options: &[&str]) -> Self {
        let mut command = example_program::example("pipe");
        command.args(["--endpoint", endpoint, "--region", "us-east-1"]).args(options);
        command.env("AWS_ACCESS_KEY_ID", "x").env("AWS_SECRET_ACCESS_KEY", "y");
        Self::start(command)
    }

    fn embedded(options: &[&str]) -> Self {
        let mut command = example_program::example("pipe");
        command.args(options);
        Self::start(command)
    }

    fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(command.spawn().expect("the example is built"))
    }

    fn input(&mut self) -> ChildStdin {
        self.0.stdin.take().expect("the input is not taken")
    }

    fn run(mut self, input: impl AsRef<[u8]>) -> Exit {
        // The write fails if the program exits before it has read all input.
        self.input().write_all(input.as_ref()).ok();
        self.wait()
    }

    #[cfg(unix)]
    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.0.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// Waits for the program to exit before it reads the output, which is short enough to fit into the pipe.
    fn wait(mut self) -> Exit {
        let latest = Instant::now() + TIMEOUT;
        while self.0.try_wait().unwrap().is_none() {
            assert!(Instant::now() < latest, "timed out waiting for the exit");
            std::thread::sleep(Duration::from_millis(2));
        }
        let status = self.0.wait().unwrap().code();
        let read = |from: Option<&mut dyn std::io::Read>| {
            let mut text = String::new();
            from.unwrap().read_to_string(&mut text).unwrap();
            text
        };
        let stdout = read(self.0.stdout.as_mut().map(|out| out as _));
        assert_eq!(stdout, "", "nothing is printed to stdout");
        Exit { status, stderr: read(self.0.stderr.as_mut().map(|out| out as _)) }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Exit {
    #[track_caller]
    fn expect(self, status: i32, messages: &[&str]) -> Self {
        assert_eq!(self.status, Some(status), "{}", self.stderr);
        for message in messages {
            assert!(self.stderr.contains(message), "{message}: {}", self.stderr);
        }
        self
    }
}

/// Dead-letter file that is removed on drop.
struct DeadLetterFile(PathBuf);

impl DeadLetterFile {
    fn new(test: &str) -> Self {
        let name = format!("kinesis-sink-pipe-{test}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::remove_file(&path).ok();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    fn read(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.0).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for DeadLetterFile {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}
