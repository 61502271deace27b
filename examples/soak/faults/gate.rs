//! The socket between the client and the server.

use std::net::SocketAddr;

use futures::future;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A port of the loopback interface that passes everything on to a server, while it is open. Dropping it
/// closes the port.
#[derive(Debug)]
pub struct Gate {
    address: SocketAddr,
    state: watch::Sender<State>,
    listener: JoinHandle<()>,
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    is_shut: bool,
    holds: bool,
    /// How often the connections were reset.
    resets: u64,
    /// How often the connections were killed, and how they were killed last.
    deaths: (u64, Death),
    /// Connections that were reset since it was last opened.
    broken: u64,
}

/// How a connection dies silently. It stays open, and later connections are not affected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Death {
    /// It carries neither requests nor answers.
    #[default]
    Both,
    /// It carries requests, but no answers.
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

    /// Resets the connections that are there.
    pub fn reset(&self) {
        self.state.send_modify(|state| state.resets += 1);
    }

    /// Resets the connections that are there, and those to come.
    pub fn shut(&self) {
        self.state.send_modify(|state| {
            state.resets += 1;
            state.is_shut = true;
        });
    }

    /// Kills the open connections without closing them.
    pub fn kill(&self, death: Death) {
        self.state.send_modify(|state| state.deaths = (state.deaths.0 + 1, death));
    }

    /// Holds every byte back.
    pub fn hold(&self) {
        self.state.send_modify(|state| state.holds = true);
    }

    /// Lets everything through again. How many connections were reset since it was last opened.
    pub fn open(&self) -> u64 {
        let mut broken = 0;
        self.state.send_modify(|state| {
            broken = std::mem::take(&mut state.broken);
            state.is_shut = false;
            state.holds = false;
        });
        broken
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
            state.send_modify(|state| state.broken += 1);
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
        state.send_modify(|state| state.broken += 1);
        reset(client);
        reset(upstream);
    }
}

/// Forwards bytes until the source ends or the other side stops reading. After one of `deaths` bytes are dropped.
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
        let is_open = state.wait_for(|state| !state.holds).await.is_ok();
        if count == 0 || !is_open || to.write_all(&buffer[..count]).await.is_err() {
            break;
        }
    }
    // The other side may be gone already.
    to.shutdown().await.ok();
}

fn reset(connection: TcpStream) {
    // Without it a close is an orderly end, if all was read.
    connection.set_zero_linger().ok();
}
