//! The server, with a reader beside it.

use std::sync::Arc;

use anyhow::Context;
use aws_sdk_kinesis::Client;
use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use tokio::sync::{RwLock, watch};
use tokio::task::JoinHandle;

use crate::embedded::Embedded;
use crate::reader;
use crate::tasks::Shared;

/// A server that is read until nobody writes any more.
pub struct Server {
    pub client: Client,
    pub endpoint: String,
    was_read: JoinHandle<()>,
}

impl Server {
    pub async fn start(
        shards: i32,
        account: Arc<Shared>,
        written: watch::Receiver<bool>,
    ) -> anyhow::Result<Self> {
        let quiet = Arc::new(RwLock::new(()));
        let server = Embedded::start_in(shards, true, |app| in_turns(app, quiet.clone())).await?;
        let (client, endpoint) = (server.client().clone(), server.endpoint().to_owned());
        let read = async move { reader::read(server.store(), &quiet, &account, written).await };
        Ok(Self { client, endpoint, was_read: tokio::spawn(read) })
    }

    /// Waits until everything was read.
    pub async fn was_read(self) -> anyhow::Result<()> {
        self.was_read.await.context("the reader panicked")
    }
}

/// Has requests wait while somebody reads. The server keeps a lock while it waits for another one, so that who
/// reads while others write can stop it for good.
fn in_turns(app: Router, quiet: Arc<RwLock<()>>) -> Router {
    app.layer(from_fn(move |request: Request, next: Next| {
        let quiet = quiet.clone();
        async move {
            let _writing = quiet.read().await;
            next.run(request).await
        }
    }))
}
