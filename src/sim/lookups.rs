use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::sleep;
use tower::BoxError;

use super::SimStream;
use super::state::State;
use super::validation::check_stream;
use crate::service::PutRecordsError;
use crate::shard::{ListShards, Shard};
use crate::stream::{DescribeStream, StreamDescription, StreamId};

/// The open shards at half of the round trip.
impl ListShards for SimStream {
    fn list_shards(&self, stream: &StreamId) -> BoxFuture<'static, Result<Vec<Shard>, BoxError>> {
        let (this, stream) = (self.clone(), stream.clone());
        async move {
            let shards = this.ask(|state| {
                check_stream(this.config(), &stream)?;
                Ok(state.ring.open_shards().cloned().collect())
            });
            Ok(shards.await?)
        }
        .boxed()
    }
}

impl DescribeStream for SimStream {
    fn describe_stream(
        &self,
        stream: &StreamId,
    ) -> BoxFuture<'static, Result<StreamDescription, BoxError>> {
        let (this, stream) = (self.clone(), stream.clone());
        async move {
            let description = this.ask(|_| {
                check_stream(this.config(), &stream)?;
                Ok(this.config().description)
            });
            Ok(description.await?)
        }
        .boxed()
    }
}

impl SimStream {
    /// Takes a request that writes no record through its round trip; an outage answers it as any other.
    pub(super) async fn ask<T>(
        &self,
        answer: impl FnOnce(&mut State) -> Result<T, PutRecordsError>,
    ) -> Result<T, PutRecordsError> {
        let (round_trip, outage) = {
            let mut state = self.lock();
            (state.draw_latency(self.config()), state.faults.outage())
        };
        let half: Duration = round_trip / 2;
        sleep(half).await;
        let answer = match outage {
            Some(error) => Err(error),
            None => answer(&mut self.lock()),
        };
        sleep(round_trip - half).await;
        answer
    }
}
