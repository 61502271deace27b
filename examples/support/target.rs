use aws_sdk_kinesis::Client;
use kinesis_sink::SinkBuilder;
use kinesis_sink::{BuildError, KinesisSink};

use crate::embedded::{Embedded, STREAM};
use crate::read_back::{From, ReadBack};
use crate::remote::Remote;

/// A stream: either the one named on the command line, or that of an embedded server.
pub struct Target {
    client: Client,
    stream: String,
    server: Option<Embedded>,
}

impl Target {
    /// Connects to the stream named by `remote`, or starts an embedded server that enforces the limits of its shards.
    pub async fn open(remote: &Remote, shards: i32) -> anyhow::Result<Self> {
        if remote.is_set() {
            let client = remote.connect().await?;
            return Ok(Self { client, stream: remote.stream().to_owned(), server: None });
        }
        let server = Embedded::start(shards, true).await?;
        println!("embedded Kinesis server at {}, stream {STREAM}", server.endpoint());
        let client = server.client().clone();
        Ok(Self { client, stream: STREAM.to_owned(), server: Some(server) })
    }

    /// Creates a sink. `configure` changes the settings of its builder.
    pub fn sink(
        &self,
        configure: impl FnOnce(SinkBuilder) -> SinkBuilder,
    ) -> Result<KinesisSink, BuildError> {
        configure(KinesisSink::builder(&self.stream)).build(&self.client)
    }

    /// Creates a reader of the records that are written from now on.
    pub async fn read_back(&self) -> anyhow::Result<ReadBack> {
        let from = if self.server.is_some() { From::Start } else { From::Now };
        ReadBack::begin(&self.client, &self.stream, from).await
    }
}
