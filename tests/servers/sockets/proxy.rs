//! A TCP proxy on the loopback interface that injects faults.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpSocket};
use tokio::task::{JoinHandle, JoinSet};

use super::connection;
use super::fault_plan::FaultPlan;

/// A proxy for one server. Its port is fixed, and it refuses connections until [`Proxy::start_listening`] is called.
pub struct Proxy {
    address: SocketAddr,
    state: State,
    plan: Arc<FaultPlan>,
}

enum State {
    /// Socket that is bound but does not listen. It reserves the port while connections are refused.
    Down(TcpSocket),
    Up(JoinHandle<()>),
    Changing,
}

impl Proxy {
    pub fn new(server: SocketAddr) -> Self {
        let socket = bound(([127, 0, 0, 1], 0).into());
        let address = socket.local_addr().unwrap();
        Self { address, state: State::Down(socket), plan: Arc::new(FaultPlan::new(server)) }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn start_listening(&mut self) {
        let State::Down(socket) = std::mem::replace(&mut self.state, State::Changing) else {
            panic!("the proxy is already listening");
        };
        let listener = socket.listen(128).unwrap();
        self.state = State::Up(tokio::spawn(accept(listener, self.plan.clone())));
    }

    pub async fn stop_listening(&mut self) {
        let State::Up(task) = std::mem::replace(&mut self.state, State::Changing) else {
            panic!("the proxy is not listening");
        };
        task.abort();
        let _ = task.await;
        self.state = State::Down(bound(self.address));
    }

    pub fn plan(&self) -> &FaultPlan {
        &self.plan
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let State::Up(task) = &self.state {
            task.abort();
        }
    }
}

fn bound(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    // Without this option, connections in TIME_WAIT would prevent the bind.
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).unwrap();
    socket
}

async fn accept(listener: TcpListener, plan: Arc<FaultPlan>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let plan = plan.clone();
        connections.spawn(async move { connection::serve(client, &plan).await });
    }
}
