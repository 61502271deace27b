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
    /// Opens the file at `path`, or standard input if `path` is `-`.
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
        // The metadata of a pipe or a device reports a length of 0, so 0 means that the size is unknown.
        Ok(Self { input: Box::pin(file), bytes: Some(bytes).filter(|bytes| *bytes > 0) })
    }

    /// Returns the size of the source in bytes, if known.
    pub fn bytes(&self) -> Option<u64> {
        self.bytes
    }

    /// Returns a stream of the lines, without line breaks. A line need not be valid UTF-8.
    pub fn lines(self) -> impl Stream<Item = anyhow::Result<Bytes>> {
        let codec = AnyDelimiterCodec::new_with_max_length(b"\n".to_vec(), vec![], MAX_LINE_BYTES);
        FramedRead::new(self.input, codec).map(|line| line.context("cannot read the next line"))
    }
}
