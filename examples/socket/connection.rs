//! One connection: lines in, records out, and one line back.

use futures::{SinkExt, StreamExt, TryStreamExt};
use kinesis_sink::{Producer, Record};
use tokio::io::AsyncRead;
use tokio_util::codec::{FramedRead, LinesCodec};

/// In bytes. The line that is longer ends its connection.
pub const LONGEST_LINE: usize = 64 << 10;

/// The heart of it. Is ready at the end of the input, once every line of it is in the stream.
///
/// While the stream is slow the producer has no room, so nothing is read here, the connection's window fills,
/// and whoever sends waits.
pub async fn forward(input: impl AsyncRead, producer: Producer) -> anyhow::Result<u64> {
    let mut lines = 0;
    let forwarded = FramedRead::new(input, LinesCodec::new_with_max_length(LONGEST_LINE))
        .map(|line| Ok(line?))
        .inspect_ok(|_| lines += 1)
        .map_ok(Record::from)
        .forward(producer.sink().sink_map_err(anyhow::Error::from))
        .await;
    if let Err(error) = forwarded {
        // The lines before the one that failed are safe when the sender hears of it.
        producer.flush().await?;
        return Err(error.context(format!("stopped after {lines} lines")));
    }
    Ok(lines)
}
