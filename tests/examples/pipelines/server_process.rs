//! Runs an example program that listens on a port.

use std::io::{BufRead, BufReader, Lines};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::support::embedded::Embedded;
use crate::support::example_program;

/// Running program, which is killed on drop.
pub struct ServerProcess {
    pub child: Child,
    output: Lines<BufReader<ChildStdout>>,
    pub address: SocketAddr,
}

impl ServerProcess {
    pub fn start(name: &str, arguments: &[&str], kinesis: &Embedded) -> Self {
        let mut command = example_program::example(name);
        command.args(["--listen", "127.0.0.1:0", "--endpoint", kinesis.endpoint()]);
        command.args(["--region", "us-east-1"]).args(arguments).stdout(Stdio::piped());
        command.env("AWS_ACCESS_KEY_ID", "x").env("AWS_SECRET_ACCESS_KEY", "y");
        let mut child = command.spawn().expect("the example is built");
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        let listening = output.next().expect("the program prints its address").unwrap();
        let address = listening.rsplit(['/', ' ']).next().unwrap().parse().unwrap();
        Self { child, output, address }
    }

    pub fn interrupt(&self) {
        send_signal(&self.child, "-INT");
    }

    pub fn wait(mut self) -> String {
        let last = self.output.by_ref().map(Result::unwrap).last();
        assert!(self.child.wait().unwrap().success(), "{last:?}");
        last.expect("the program prints a summary")
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

pub fn send_signal(child: &Child, signal: &str) {
    let sent = Command::new("kill").args([signal, &child.id().to_string()]).status();
    assert!(sent.unwrap().success());
}

/// Runs blocking `work` on a separate thread, so that the server can use the threads of the runtime.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}
