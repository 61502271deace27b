//! An embedded Kinesis server on a free port of the loopback interface.

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

/// Name of the stream that is created when a server starts.
pub const STREAM: &str = "example";

/// A Kinesis server in this process. Dropping the value stops the server.
pub struct Embedded {
    client: Client,
    endpoint: String,
    store: Store,
    server: JoinHandle<()>,
}

impl Embedded {
    /// Starts a server with one stream. `enforce_limits` limits each shard to 1,000 records and 1 MiB per second.
    #[allow(dead_code, reason = "not every user of this module calls it")]
    pub async fn start(shards: i32, enforce_limits: bool) -> anyhow::Result<Self> {
        Self::start_in(shards, enforce_limits, |app| app).await
    }

    /// Starts a server with a router changed by `wrap`. Middleware can extract the client's `ConnectInfo<SocketAddr>`.
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
        // The default body limit of axum is 2 MB, which is less than the size of a full PutRecords request.
        let app = wrap(app.layer(DefaultBodyLimit::max(16 << 20)));
        let app = app.into_make_service_with_connect_info::<SocketAddr>();
        let listener =
            TcpListener::bind("127.0.0.1:0").await.context("cannot bind a port of 127.0.0.1")?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, app).await {
                eprintln!("embedded server failed: {error}");
            }
        });
        let client = client(&endpoint).await;
        create_stream(&client, STREAM, shards)
            .await
            .context("cannot create a stream on the embedded server")?;
        Ok(Self { client, endpoint, store, server })
    }

    #[allow(dead_code, reason = "not every user of this module calls it")]
    pub async fn add_stream(&self, stream: &str, shards: i32) -> anyhow::Result<()> {
        create_stream(&self.client, stream, shards).await
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    #[allow(dead_code, reason = "not every user of this module calls it")]
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
        let summary =
            summary.stream_description_summary.context("response without a stream summary")?;
        if summary.stream_status == StreamStatus::Active {
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}
