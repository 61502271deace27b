use std::path::Path;
use std::pin::Pin;

use anyhow::Context;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use tokio::fs::File;
use tokio::io::AsyncRead;
use tokio_util::codec::{AnyDelimiterCodec, FramedRead};

const MAX_LINE_BYTES: usize = kinesis_sink::limits::MAX_RECORD_BYTES;

pub struct Source {
    input: Pin<Box<dyn AsyncRead + Send>>,
    bytes: Option<u64>,
}

impl Source {
    /// Opens the file at `path`, or standard input if it is `-`.
    pub async fn open(path: &Path) -> anyhow::Result<Self> {
        if path == Path::new("-") {
            return Ok(Self { input: Box::pin(tokio::io::stdin()), bytes: None });
        }
        let open = async {
            let file = File::open(path).await?;
            let metadata = file.metadata().await?;
            anyhow::ensure!(!metadata.is_dir(), "it is a directory");
            Ok((file, metadata.len()))
        };
        let (file, bytes) =
            open.await.with_context(|| format!("cannot read {}", path.display()))?;
        // The length of a pipe or a device is 0.
        Ok(Self { input: Box::pin(file), bytes: Some(bytes).filter(|bytes| *bytes > 0) })
    }

    /// Returns the size of the source in bytes, if known.
    pub fn bytes(&self) -> Option<u64> {
        self.bytes
    }

    /// Returns the lines without their line breaks. They need not be UTF-8.
    pub fn lines(self) -> impl Stream<Item = anyhow::Result<Bytes>> {
        let codec = AnyDelimiterCodec::new_with_max_length(b"\n".to_vec(), vec![], MAX_LINE_BYTES);
        FramedRead::new(self.input, codec).map(|line| line.context("cannot read the next line"))
    }
}
