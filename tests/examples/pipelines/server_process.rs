//! An example that serves at a port, until it is interrupted.

use std::io::{BufRead, BufReader, Lines};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::support::embedded::Embedded;
use crate::support::example_program;

/// Killed, if need be, when the test ends.
pub struct Served {
    pub process: Child,
    output: Lines<BufReader<ChildStdout>>,
    pub address: SocketAddr,
}

impl Served {
    /// Starts it with its records going to this server, and waits until it listens.
    pub fn start(name: &str, arguments: &[&str], kinesis: &Embedded) -> Self {
        let mut command = example_program::example(name);
        command.args(["--listen", "127.0.0.1:0", "--endpoint", kinesis.endpoint()]);
        command.args(["--region", "us-east-1"]).args(arguments).stdout(Stdio::piped());
        command.env("AWS_ACCESS_KEY_ID", "x").env("AWS_SECRET_ACCESS_KEY", "y");
        let mut process = command.spawn().expect("the example is built");
        let mut output = BufReader::new(process.stdout.take().unwrap()).lines();
        let listening = output.next().expect("it says where it listens").unwrap();
        let address = listening.rsplit(['/', ' ']).next().unwrap().parse().unwrap();
        Self { process, output, address }
    }

    pub fn interrupt(&self) {
        send(&self.process, "-INT");
    }

    /// Waits for its end, which must be a good one, and returns its last line.
    pub fn ended(mut self) -> String {
        let last = self.output.by_ref().map(Result::unwrap).last();
        assert!(self.process.wait().unwrap().success(), "{last:?}");
        last.expect("it says how it went")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

pub fn send(process: &Child, signal: &str) {
    let sent = Command::new("kill").args([signal, &process.id().to_string()]).status();
    assert!(sent.unwrap().success());
}

/// Off the runtime's threads, on which the server runs.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}
