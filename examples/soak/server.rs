//! The server, with a reader beside it, on a thread of their own.

use std::sync::Arc;
use std::thread;

use anyhow::Context;
use aws_sdk_kinesis::Client;
use tokio::runtime::Builder;
use tokio::sync::{oneshot, watch};

use crate::embedded::Embedded;
use crate::reader;
use crate::tasks::Shared;

/// A server that is read until nobody writes any more.
pub struct Server {
    pub client: Client,
    pub endpoint: String,
    was_read: oneshot::Receiver<()>,
}

impl Server {
    /// Starts it. One thread is all it may have: it keeps locks while it waits, so that reading on one
    /// thread and writing on two others could stop it for good.
    pub async fn start(
        shards: i32,
        account: Arc<Shared>,
        written: watch::Receiver<bool>,
    ) -> anyhow::Result<Self> {
        let (started, is_started) = oneshot::channel();
        let (read, was_read) = oneshot::channel();
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let serve = async move {
            match Embedded::start(shards, true).await {
                // Nobody need be there to hear it.
                Err(error) => drop(started.send(Err(error))),
                Ok(server) => {
                    let told = (server.client().clone(), server.endpoint().to_owned());
                    started.send(Ok(told)).ok();
                    reader::read(server.store(), &account, written).await;
                    read.send(()).ok();
                }
            }
        };
        thread::spawn(move || runtime.block_on(serve));
        let (client, endpoint) = is_started.await.context("the server panicked")??;
        Ok(Self { client, endpoint, was_read })
    }

    /// Waits until everything was read.
    pub async fn was_read(self) -> anyhow::Result<()> {
        self.was_read.await.context("the reader panicked")
    }
}
