//! A source of stream information that may fail, never respond, or be out of date.

use std::sync::{Arc, Mutex};

use fastrand::Rng;
use futures::future::{BoxFuture, pending, ready};
use kinesis_sink::StreamId;
use kinesis_sink::service::PutRecordsError;
use kinesis_sink::shard::Shard;
use kinesis_sink::sim::SimStream;
use kinesis_sink::stream::{StreamDescription, StreamInfo};
use tower::BoxError;

use super::drawn::{Drawn, one_of};
use super::ledger::Shared;

#[derive(Debug, Clone)]
pub struct Lookups {
    stream: SimStream,
    lists_shards: bool,
    describes: bool,
    /// The share of lookups that fail, never return, or are out of date.
    share: f64,
    /// Of all clones.
    rng: Arc<Mutex<Rng>>,
    /// The shards as they were at first.
    former: Vec<Shard>,
    /// Listings are never out of date, silent or refused by these lookups: without a list a switch to AUTO may
    /// lose aggregates.
    lists_well: bool,
    /// They do not fail with the whole stream either, since the sink has no describer.
    lists_always: bool,
    ledger: Shared,
}

/// How a lookup goes wrong.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    Refused(&'static str),
    Silent,
    OutOfDate,
}

const TROUBLES: [Trouble; 4] = [
    Trouble::Refused("LimitExceededException"),
    Trouble::Refused("InternalFailure"),
    Trouble::Silent,
    Trouble::OutOfDate,
];

impl Lookups {
    pub fn new(stream: &SimStream, drawn: &Drawn, ledger: &Shared) -> Self {
        Self {
            stream: stream.clone(),
            lists_shards: drawn.settings.lists_shards(),
            describes: drawn.settings.describes(),
            share: drawn.trouble.lookups,
            rng: Arc::new(Mutex::new(Rng::with_seed(drawn.seed))),
            former: stream.shards(),
            lists_well: drawn.switches,
            lists_always: drawn.switches && !drawn.settings.describes(),
            ledger: ledger.clone(),
        }
    }

    fn trouble(&self) -> Option<Trouble> {
        let mut rng = self.rng.lock().unwrap();
        let mut ledger = self.ledger.lock();
        let trouble = (rng.f64() < self.share).then(|| one_of(&mut rng, &TROUBLES));
        let trouble = trouble.filter(|_| !ledger.trouble_is_over);
        ledger.seen.note("a lookup that went wrong", usize::from(trouble.is_some()));
        trouble
    }
}

fn refused<T: Send + 'static>(code: &str) -> BoxFuture<'static, Result<T, BoxError>> {
    Box::pin(ready(Err(PutRecordsError::service(Some(code), None, Some(400)).into())))
}

impl StreamInfo for Lookups {
    fn describe_stream(
        &self,
        stream: &StreamId,
    ) -> Option<BoxFuture<'static, Result<StreamDescription, BoxError>>> {
        if !self.describes {
            return None;
        }
        match self.trouble() {
            Some(Trouble::Refused(code)) => Some(refused(code)),
            Some(Trouble::Silent) => Some(Box::pin(pending())),
            _ => self.stream.describe_stream(stream),
        }
    }

    fn list_shards(
        &self,
        stream: &StreamId,
    ) -> Option<BoxFuture<'static, Result<Vec<Shard>, BoxError>>> {
        if !self.lists_shards {
            return None;
        }
        match self.trouble().filter(|_| !self.lists_well) {
            Some(Trouble::Refused(code)) => Some(refused(code)),
            Some(Trouble::Silent) => Some(Box::pin(pending())),
            Some(Trouble::OutOfDate) => Some(Box::pin(ready(Ok(self.former.clone())))),
            None if self.lists_always => Some(Box::pin(ready(Ok(self.stream.shards())))),
            None => self.stream.list_shards(stream),
        }
    }
}
