use futures::future::BoxFuture;
use futures::{FutureExt, TryFutureExt};
use tokio::time::{Instant, sleep_until};
use tower::BoxError;

use super::SimStream;
use super::builder::Config;
use super::state::State;
use crate::service::PutRecordsError;
use crate::shard::Shard;
use crate::stream::{StreamDescription, StreamId, StreamInfo};

/// Returns the state of the stream after half of the round-trip time.
impl StreamInfo for SimStream {
    fn describe_stream(
        &self,
        stream: &StreamId,
    ) -> Option<BoxFuture<'static, Result<StreamDescription, BoxError>>> {
        let stream = stream.clone();
        self.lock().stats.descriptions += 1;
        let description = self.call(move |config, state| {
            state.check_stream(config, &stream)?;
            Ok(state.description(config))
        });
        Some(description.err_into().boxed())
    }

    fn list_shards(
        &self,
        stream: &StreamId,
    ) -> Option<BoxFuture<'static, Result<Vec<Shard>, BoxError>>> {
        let stream = stream.clone();
        self.lock().stats.listings += 1;
        let shards = self.call(move |config, state| {
            state.check_active(config, &stream)?;
            Ok(state.ring.open_shards().cloned().collect())
        });
        Some(shards.err_into().boxed())
    }
}

impl SimStream {
    /// Calls an operation that writes no record. The outage and the round-trip time are those of the call's start.
    pub(super) fn call<T, F>(
        &self,
        handler: F,
    ) -> impl Future<Output = Result<T, PutRecordsError>> + use<T, F>
    where
        F: FnOnce(&Config, &mut State) -> Result<T, PutRecordsError>,
    {
        let sent = Instant::now();
        let (round_trip, outage) = {
            let mut state = self.lock();
            (state.draw_lookup(self.config()), state.faults.outage())
        };
        let stream = self.clone();
        async move {
            sleep_until(sent + round_trip / 2).await;
            let output = match outage {
                Some(error) => Err(error),
                None => handler(stream.config(), &mut stream.lock()),
            };
            sleep_until(sent + round_trip).await;
            output
        }
    }
}
