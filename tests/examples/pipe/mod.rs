//! The example `pipe`, as a program: what it makes of its input, what becomes of records that fail, and how
//! it ends.
#![cfg(feature = "aws-config")]

mod failures;
mod formats;
mod memory;
mod options;
mod server;
mod shutdown;

use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::example_program;

/// A guard against hanging, no measure.
const LONGEST: Duration = Duration::from_secs(60);

/// The program. Dropping it kills it, if need be.
struct Pipe(Child);

/// How it ended.
#[derive(Debug)]
struct Ended {
    status: Option<i32>,
    said: String,
}

impl Pipe {
    /// Sends to the server at `endpoint`.
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
        self.0.stdin.take().expect("it was not taken")
    }

    /// Gives it all of its input, and waits for its end.
    fn fed(mut self, input: impl AsRef<[u8]>) -> Ended {
        // It may end before it has read everything.
        self.input().write_all(input.as_ref()).ok();
        self.ended()
    }

    #[cfg(unix)]
    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.0.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// Waits for its end. Nothing but errors and the summary is so long that it would fill a pipe.
    fn ended(mut self) -> Ended {
        let latest = Instant::now() + LONGEST;
        while self.0.try_wait().unwrap().is_none() {
            assert!(Instant::now() < latest, "it does not end");
            std::thread::sleep(Duration::from_millis(2));
        }
        let status = self.0.wait().unwrap().code();
        let read = |from: Option<&mut dyn std::io::Read>| {
            let mut text = String::new();
            from.unwrap().read_to_string(&mut text).unwrap();
            text
        };
        let stdout = read(self.0.stdout.as_mut().map(|out| out as _));
        assert_eq!(stdout, "", "standard output is not for this program");
        Ended { status, said: read(self.0.stderr.as_mut().map(|out| out as _)) }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Ended {
    /// It ended with this status and said these things.
    #[track_caller]
    fn expect(self, status: i32, said: &[&str]) -> Self {
        assert_eq!(self.status, Some(status), "{}", self.said);
        said.iter().for_each(|text| assert!(self.said.contains(text), "{text}: {}", self.said));
        self
    }
}

/// A file of one test. Dropping it removes it.
struct Letters(PathBuf);

impl Letters {
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

impl Drop for Letters {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}
