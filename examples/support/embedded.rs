//! A Kinesis server in this process, on a free port of the loopback interface.

use std::net::SocketAddr;

use anyhow::Context;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::Credentials;
use aws_sdk_kinesis::types::StreamStatus;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use ferrokinesis::create_app;
use ferrokinesis::store::{Store, StoreOptions};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The stream that it has.
pub const STREAM: &str = "example";

/// The server. Dropping it ends it.
pub struct Embedded {
    client: Client,
    endpoint: String,
    store: Store,
    server: JoinHandle<()>,
}

impl Embedded {
    /// Starts a server with one stream of `shards` shards. With `enforce_limits` a shard takes 1,000
    /// records and 1 MiB a second.
    #[allow(dead_code, reason = "not every user of this module starts it bare")]
    pub async fn start(shards: i32, enforce_limits: bool) -> anyhow::Result<Self> {
        Self::start_in(shards, enforce_limits, |app| app).await
    }

    /// The same, with something around it, which finds each request's peer in
    /// `axum::extract::ConnectInfo<SocketAddr>`.
    pub async fn start_in(
        shards: i32,
        enforce_limits: bool,
        wrap: impl FnOnce(Router) -> Router,
    ) -> anyhow::Result<Self> {
        let options = StoreOptions {
            create_stream_ms: 50,
            shard_limit: 1_000,
            enforce_limits,
            ..StoreOptions::default()
        };
        let (app, store) = create_app(options);
        // axum's own limit of 2 MB would refuse most requests.
        let app = wrap(app.layer(DefaultBodyLimit::max(16 << 20)));
        let app = app.into_make_service_with_connect_info::<SocketAddr>();
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no free port")?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, app).await {
                eprintln!("the embedded server ended: {error}");
            }
        });
        let client = client(&endpoint).await;
        create_stream(&client, STREAM, shards)
            .await
            .context("the embedded server has no stream")?;
        Ok(Self { client, endpoint, store, server })
    }

    /// Makes one more stream.
    #[allow(dead_code, reason = "not every user of this module needs more than one")]
    pub async fn add_stream(&self, stream: &str, shards: i32) -> anyhow::Result<()> {
        create_stream(&self.client, stream, shards).await
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// What it holds, in its own words.
    #[allow(dead_code, reason = "not every user of this module looks into it")]
    pub fn store(&self) -> &Store {
        &self.store
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn client(endpoint: &str) -> Client {
    let config = aws_config::defaults(BehaviorVersion::latest())
        .endpoint_url(endpoint)
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "embedded"))
        .load()
        .await;
    Client::new(&config)
}

async fn create_stream(client: &Client, stream: &str, shards: i32) -> anyhow::Result<()> {
    client.create_stream().stream_name(stream).shard_count(shards).send().await?;
    loop {
        let summary = client.describe_stream_summary().stream_name(stream).send().await?;
        let summary = summary.stream_description_summary.context("no summary")?;
        if summary.stream_status == StreamStatus::Active {
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}
