//! A TCP proxy between the client and the server, which injects connection faults.

use std::net::SocketAddr;

use futures::future;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A proxy on a free port of the loopback interface. Dropping the value stops the proxy.
#[derive(Debug)]
pub struct Gate {
    address: SocketAddr,
    state: watch::Sender<State>,
    listener: JoinHandle<()>,
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    is_shut: bool,
    is_stalled: bool,
    resets: u64,
    /// Number of calls of [`Gate::kill`], and the kind of the last one.
    deaths: (u64, Death),
    /// Number of connections that were reset since the last call of [`Gate::open`].
    reset_connections: u64,
}

/// Ways in which open connections fail silently. The connections stay open, and new connections are not affected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Death {
    /// Requests and responses are discarded.
    #[default]
    Both,
    /// Requests are forwarded, but responses are discarded.
    Answers,
}

impl Gate {
    pub async fn before(server: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let state = watch::Sender::default();
        let listener = tokio::spawn(accept(listener, server, state.clone()));
        Ok(Self { address, state, listener })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn reset(&self) {
        self.state.send_modify(|state| state.resets += 1);
    }

    /// Resets the open connections and rejects new ones.
    pub fn shut(&self) {
        self.state.send_modify(|state| {
            state.resets += 1;
            state.is_shut = true;
        });
    }

    pub fn kill(&self, death: Death) {
        self.state.send_modify(|state| state.deaths = (state.deaths.0 + 1, death));
    }

    pub fn stall(&self) {
        self.state.send_modify(|state| state.is_stalled = true);
    }

    /// Forwards data and accepts connections again. Returns the number of connections reset since the last call.
    pub fn open(&self) -> u64 {
        let mut reset_connections = 0;
        self.state.send_modify(|state| {
            reset_connections = std::mem::take(&mut state.reset_connections);
            state.is_shut = false;
            state.is_stalled = false;
        });
        reset_connections
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, state: watch::Sender<State>) {
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        if state.borrow().is_shut {
            state.send_modify(|state| state.reset_connections += 1);
            reset(client);
        } else {
            tokio::spawn(connect(client, server, state.clone()));
        }
    }
}

async fn connect(mut client: TcpStream, server: SocketAddr, state: watch::Sender<State>) {
    let Ok(mut upstream) = TcpStream::connect(server).await else { return reset(client) };
    let mut resets = state.subscribe();
    let earlier = resets.borrow().resets;
    let is_reset = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = upstream.split();
        let both = future::join(
            carry(from_client, to_server, state.subscribe(), &[Death::Both]),
            carry(from_server, to_client, state.subscribe(), &[Death::Both, Death::Answers]),
        );
        tokio::select! {
            _ = both => false,
            _ = resets.wait_for(|state| state.resets > earlier) => true,
        }
    };
    if is_reset {
        state.send_modify(|state| state.reset_connections += 1);
        reset(client);
        reset(upstream);
    }
}

/// Forwards data until either side closes the connection. Discards data if one of `deaths` affects the connection.
async fn carry(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut state: watch::Receiver<State>,
    deaths: &[Death],
) {
    let mut buffer = vec![0; 64 * 1024];
    let earlier = state.borrow().deaths.0;
    while let Ok(count) = from.read(&mut buffer).await {
        let (died, how) = state.borrow().deaths;
        if count > 0 && died > earlier && deaths.contains(&how) {
            continue;
        }
        let is_open = state.wait_for(|state| !state.is_stalled).await.is_ok();
        if count == 0 || !is_open || to.write_all(&buffer[..count]).await.is_err() {
            break;
        }
    }
    // An error means that the other side has closed the connection already.
    to.shutdown().await.ok();
}

fn reset(connection: TcpStream) {
    // With a linger time of zero, closing the connection sends RST instead of FIN.
    connection.set_zero_linger().ok();
}
