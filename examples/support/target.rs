//! Where an example sends to, and whether all of it arrived.

use aws_sdk_kinesis::Client;
use kinesis_sink::SinkBuilder;
use kinesis_sink::{BuildError, KinesisSink};

use crate::embedded::{Embedded, STREAM};
use crate::read_back::{From, ReadBack};
use crate::remote::Remote;

/// A stream: the one that the command line names, else that of an embedded server.
pub struct Target {
    client: Client,
    stream: String,
    /// Kept to the end: dropping the server ends it.
    server: Option<Embedded>,
}

impl Target {
    /// Connects, or starts a server with so many shards, of which each takes 1,000 records and 1 MiB a
    /// second.
    pub async fn open(remote: &Remote, shards: i32) -> anyhow::Result<Self> {
        if remote.is_wanted() {
            let (client, stream) = (remote.connect().await?, remote.stream().to_owned());
            return Ok(Self { client, stream, server: None });
        }
        let server = Embedded::start(shards, true).await?;
        println!("embedded Kinesis server at {}, stream {STREAM}", server.endpoint());
        let client = server.client().clone();
        Ok(Self { client, stream: STREAM.to_owned(), server: Some(server) })
    }

    /// A sink to the stream, with settings of the example's.
    pub fn sink(
        &self,
        set: impl FnOnce(SinkBuilder) -> SinkBuilder,
    ) -> Result<KinesisSink, BuildError> {
        set(KinesisSink::builder(&self.stream)).build(&self.client)
    }

    /// A reader of what is sent from now on.
    pub async fn read_back(&self) -> anyhow::Result<ReadBack> {
        let from = if self.server.is_some() { From::Start } else { From::Now };
        ReadBack::begin(&self.client, &self.stream, from).await
    }
}

/// Waits for everything that the reader expects, says what it found, and fails if something is missing.
pub async fn check(read_back: ReadBack) -> anyhow::Result<()> {
    let found = read_back.finish().await?;
    println!(
        "read back {}, {} missing, {} duplicated",
        found.records, found.missing, found.duplicated
    );
    anyhow::ensure!(found.missing == 0, "{} records are missing in the stream", found.missing);
    Ok(())
}
