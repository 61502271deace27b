//! The lines of a file, or of standard input.

use std::path::Path;
use std::pin::Pin;

use anyhow::Context;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use tokio::fs::File;
use tokio::io::AsyncRead;
use tokio_util::codec::{AnyDelimiterCodec, FramedRead};

/// No record can be longer, whatever the stream allows.
const LONGEST_LINE: usize = kinesis_sink::limits::MAX_RECORD_BYTES;

pub struct Source {
    input: Pin<Box<dyn AsyncRead + Send>>,
    bytes: Option<u64>,
}

impl Source {
    /// Opens `path`; `-` is standard input.
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
        // A pipe or a device has no length to show.
        Ok(Self { input: Box::pin(file), bytes: Some(bytes).filter(|bytes| *bytes > 0) })
    }

    /// Bytes of all lines, where that is known.
    pub fn bytes(&self) -> Option<u64> {
        self.bytes
    }

    /// The lines without their line breaks, otherwise untouched: they need not be UTF-8.
    pub fn lines(self) -> impl Stream<Item = anyhow::Result<Bytes>> {
        let codec = AnyDelimiterCodec::new_with_max_length(b"\n".to_vec(), vec![], LONGEST_LINE);
        FramedRead::new(self.input, codec).map(|line| line.context("cannot read the next line"))
    }
}
