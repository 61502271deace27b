//! Starts the servers that run on Node. All tests share one process per server.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

pub struct Node {
    endpoint: OnceLock<Option<(String, ChildStdin)>>,
    package: &'static str,
    script: &'static str,
}

pub static KINESALITE: Node = Node::new("kinesalite", "tests/servers/kinesalite.js");
pub static KINESIS_LOCAL: Node = Node::new("kinesis-local", "tests/servers/kinesis_local.js");

const START_TIMEOUT: Duration = Duration::from_secs(60);

impl Node {
    const fn new(package: &'static str, script: &'static str) -> Self {
        Self { endpoint: OnceLock::new(), package, script }
    }

    /// Starts the server in the first call. Prints a notice and returns `None` if it is not installed.
    pub fn endpoint(&self) -> Option<&str> {
        let started = self.endpoint.get_or_init(|| {
            let modules = modules();
            if is_installed(&modules.join(self.package)) {
                return Some(self.start(&modules));
            }
            self.skip();
            None
        });
        started.as_ref().map(|(endpoint, _)| endpoint.as_str())
    }

    /// Starts the server. The server exits when its standard input is closed, so it cannot outlive this process.
    fn start(&self, modules: &Path) -> (String, ChildStdin) {
        // Both servers read AWS environment variables, which must not refer to the developer's account.
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut node = Command::new("node");
        node.arg(self.script).env_clear().env("PATH", path).env("NODE_PATH", modules);
        let mut child =
            node.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("node can be spawned");
        let stdin = child.stdin.take().expect("the stream is piped");
        let port = port(child).recv_timeout(START_TIMEOUT);
        let port = port.unwrap_or_else(|_| panic!("{} printed no port", self.package));
        (format!("http://127.0.0.1:{port}"), stdin)
    }

    fn skip(&self) {
        assert!(
            std::env::var_os("REQUIRE_SERVERS").is_none(),
            "REQUIRE_SERVERS is set, and node or the package {} is missing",
            self.package
        );
        notice(&format!(
            "SKIPPED: node or the package {} is missing, see tests/servers/compatibility/mod.rs",
            self.package
        ));
    }
}

/// Prints `text` even if the test passes. The test harness would capture `eprintln!`.
pub fn notice(text: &str) {
    writeln!(std::io::stderr(), "{text}").expect("stderr is open");
}

fn modules() -> PathBuf {
    let target = || Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("kinesis-servers");
    let installed = std::env::var_os("KINESIS_SERVERS_PATH").map_or_else(target, PathBuf::from);
    installed.join("node_modules")
}

fn is_installed(package: &Path) -> bool {
    let version = Command::new("node").arg("--version").stdout(Stdio::null()).status();
    version.is_ok_and(|status| status.success()) && package.is_dir()
}

/// Receives the port that the server prints. A thread keeps reading, so that the server never blocks on a full pipe.
fn port(mut server: Child) -> Receiver<u16> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let stdout = server.stdout.take().expect("the stream is piped");
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if let Some(port) = line.strip_prefix("port ").and_then(|port| port.parse().ok()) {
                // Only the first port is received, because the receiver is then dropped.
                let _ = sender.send(port);
            }
        }
        server.wait()
    });
    receiver
}
