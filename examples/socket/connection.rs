use futures::{SinkExt, StreamExt, TryStreamExt};
use kinesis_sink::{Producer, Record};
use tokio::io::AsyncRead;
use tokio_util::codec::{FramedRead, LinesCodec};

/// Maximum length of a line in bytes. A longer line ends the connection.
pub const MAX_LINE_BYTES: usize = 64 << 10;

/// Forwards all lines of `input`, and returns their number once they are delivered. While the buffer of the producer is
/// full, no input is read, so the sender experiences backpressure.
pub async fn forward(input: impl AsyncRead, producer: Producer) -> anyhow::Result<u64> {
    let mut lines = 0;
    let forwarded = FramedRead::new(input, LinesCodec::new_with_max_length(MAX_LINE_BYTES))
        .map(|line| Ok(line?))
        .inspect_ok(|_| lines += 1)
        .map_ok(Record::from)
        .forward(producer.sink().sink_map_err(anyhow::Error::from))
        .await;
    if let Err(error) = forwarded {
        // The lines before the invalid one are delivered, so that the sender can rely on the count.
        producer.flush().await?;
        return Err(error.context(format!("stopped after {lines} lines")));
    }
    Ok(lines)
}
