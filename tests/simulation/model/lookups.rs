//! A source of stream information whose lookups can fail, get no response, or return stale shards.

use std::sync::{Arc, Mutex};

use fastrand::Rng;
use futures::future::{BoxFuture, pending, ready};
use kinesis_sink::StreamId;
use kinesis_sink::service::PutRecordsError;
use kinesis_sink::shard::Shard;
use kinesis_sink::sim::SimStream;
use kinesis_sink::stream::{StreamDescription, StreamInfo};
use tower::BoxError;

use super::ledger::SharedLedger;
use super::scenario::{Scenario, one_of};

#[derive(Debug, Clone)]
pub struct Lookups {
    stream: SimStream,
    lists_shards: bool,
    describes: bool,
    share: f64,
    rng: Arc<Mutex<Rng>>,
    initial_shards: Vec<Shard>,
    /// Set to `true` if shard listings have no faults. Otherwise, aggregates could be lost after a switch to AUTO.
    has_reliable_listings: bool,
    /// Set to `true` if shard listings succeed during outages of the stream, for sinks that do not describe the stream.
    lists_during_outages: bool,
    ledger: SharedLedger,
}

#[derive(Debug, Clone, Copy)]
enum LookupFault {
    Refused(&'static str),
    Silent,
    Stale,
}

const FAULTS: [LookupFault; 4] = [
    LookupFault::Refused("LimitExceededException"),
    LookupFault::Refused("InternalFailure"),
    LookupFault::Silent,
    LookupFault::Stale,
];

impl Lookups {
    pub fn new(stream: &SimStream, scenario: &Scenario, ledger: &SharedLedger) -> Self {
        Self {
            stream: stream.clone(),
            lists_shards: scenario.settings.lists_shards(),
            describes: scenario.settings.describes(),
            share: scenario.faults.lookups,
            rng: Arc::new(Mutex::new(Rng::with_seed(scenario.seed))),
            initial_shards: stream.shards(),
            has_reliable_listings: scenario.switches_distribution,
            lists_during_outages: scenario.switches_distribution && !scenario.settings.describes(),
            ledger: ledger.clone(),
        }
    }

    fn fault(&self) -> Option<LookupFault> {
        let mut rng = self.rng.lock().unwrap();
        let mut ledger = self.ledger.lock();
        let fault = (rng.f64() < self.share).then(|| one_of(&mut rng, &FAULTS));
        let fault = fault.filter(|_| !ledger.faults_are_over);
        ledger.coverage.count("a faulty lookup", usize::from(fault.is_some()));
        fault
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
        match self.fault() {
            Some(LookupFault::Refused(code)) => Some(refused(code)),
            Some(LookupFault::Silent) => Some(Box::pin(pending())),
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
        match self.fault().filter(|_| !self.has_reliable_listings) {
            Some(LookupFault::Refused(code)) => Some(refused(code)),
            Some(LookupFault::Silent) => Some(Box::pin(pending())),
            Some(LookupFault::Stale) => Some(Box::pin(ready(Ok(self.initial_shards.clone())))),
            None if self.lists_during_outages => Some(Box::pin(ready(Ok(self.stream.shards())))),
            None => self.stream.list_shards(stream),
        }
    }
}
