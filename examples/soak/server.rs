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
use crate::senders::SharedAccount;

/// An embedded server whose stream is read continuously.
pub struct Server {
    pub client: Client,
    pub endpoint: String,
    reader: JoinHandle<()>,
}

impl Server {
    pub async fn start(
        shards: i32,
        account: Arc<SharedAccount>,
        written: watch::Receiver<bool>,
    ) -> anyhow::Result<Self> {
        let write_lock = Arc::new(RwLock::new(()));
        let lock = write_lock.clone();
        let server = Embedded::start_in(shards, true, |app| exclude_reader(app, lock)).await?;
        let client = server.client().clone();
        let endpoint = server.endpoint().to_owned();
        let read =
            async move { reader::read(server.store(), &write_lock, &account, written).await };
        Ok(Self { client, endpoint, reader: tokio::spawn(read) })
    }

    pub async fn read_to_end(self) -> anyhow::Result<()> {
        self.reader.await.context("the reader panicked")
    }
}

/// Delays requests while the reader accesses the storage. Concurrent access could deadlock the server.
fn exclude_reader(app: Router, lock: Arc<RwLock<()>>) -> Router {
    app.layer(from_fn(move |request: Request, next: Next| {
        let lock = lock.clone();
        async move {
            let _guard = lock.read().await;
            next.run(request).await
        }
    }))
}
