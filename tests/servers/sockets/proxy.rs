//! A TCP proxy on the loopback interface that does to connections what it is told.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpSocket};
use tokio::task::{JoinHandle, JoinSet};

use super::connection;
use super::fault_plan::Orders;

/// A proxy in front of one server, at one port for its whole life. At first it is down: the port is its
/// own, and connections to it are refused.
pub struct Proxy {
    address: SocketAddr,
    state: State,
    orders: Arc<Orders>,
}

enum State {
    /// Bound, so that nobody else gets the port, and not listening.
    Down(TcpSocket),
    Up(JoinHandle<()>),
    /// Only while it goes from one to the other.
    Between,
}

impl Proxy {
    /// A proxy in front of `server`.
    pub fn new(server: SocketAddr) -> Self {
        let socket = bound(([127, 0, 0, 1], 0).into());
        let address = socket.local_addr().unwrap();
        Self { address, state: State::Down(socket), orders: Arc::new(Orders::new(server)) }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes connections from now on.
    pub fn come_up(&mut self) {
        let State::Down(socket) = std::mem::replace(&mut self.state, State::Between) else {
            panic!("the proxy is up");
        };
        let listener = socket.listen(128).unwrap();
        self.state = State::Up(tokio::spawn(accept(listener, self.orders.clone())));
    }

    /// Ends all connections and refuses new ones, like a server that is killed.
    pub async fn go_down(&mut self) {
        let State::Up(task) = std::mem::replace(&mut self.state, State::Between) else {
            panic!("the proxy is down");
        };
        task.abort();
        let _ = task.await;
        self.state = State::Down(bound(self.address));
    }

    /// What it is to do, and what it has done.
    pub fn orders(&self) -> &Orders {
        &self.orders
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
    // What is left of ended connections is no hindrance.
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).unwrap();
    socket
}

async fn accept(listener: TcpListener, orders: Arc<Orders>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        // A connection that breaks is what this is about.
        let orders = orders.clone();
        connections.spawn(async move { connection::serve(client, &orders).await });
    }
}
