//! Helpers that send records through the proxy and check the results.

use std::collections::HashMap;
use std::future::Future;
use std::ops::Range;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::types::ShardIteratorType;
use bytes::Bytes;
use futures::{StreamExt, future, stream};
use kinesis_sink::limits::Limits;
use kinesis_sink::{Delivery, Error, KinesisSink, Producer, Record, SinkBuilder, Undelivered};
use tracing::Level;

use super::fault_plan::FaultPlan;
use super::proxy::Proxy;
use crate::support::embedded::{Embedded, STREAM};
use crate::support::logs::Logs;
use crate::support::read_back::{Found, From, ReadBack};

pub struct Rig {
    server: Embedded,
    pub proxy: Proxy,
    pub logs: Logs,
}

impl Rig {
    pub async fn start() -> Self {
        let mut rig = Self::start_refusing().await;
        rig.proxy.start_listening();
        rig
    }

    pub async fn start_refusing() -> Self {
        Self::with(Embedded::start(2, false).await.unwrap())
    }

    /// Puts a proxy that refuses connections in front of `server`.
    pub fn with(server: Embedded) -> Self {
        let address = server.endpoint().strip_prefix("http://").unwrap().parse().unwrap();
        Self { server, proxy: Proxy::new(address), logs: Logs::listen(Level::DEBUG) }
    }

    pub fn plan(&self) -> &FaultPlan {
        self.proxy.plan()
    }

    pub fn client(&self) -> Client {
        self.client_of(&format!("http://{}", self.proxy.address()))
    }

    pub fn client_of(&self, endpoint: &str) -> Client {
        let config = self.server.client().config().to_builder().endpoint_url(endpoint);
        Client::from_conf(config.build())
    }

    pub fn sink(&self, builder: SinkBuilder) -> KinesisSink {
        builder.build(&self.client()).unwrap()
    }

    pub async fn find(&self, payloads: impl IntoIterator<Item = Bytes>) -> Found {
        let mut read_back =
            ReadBack::begin(self.server.client(), STREAM, From::Start).await.unwrap();
        for payload in payloads {
            read_back.expect(payload);
        }
        read_back.finish().await.unwrap()
    }

    /// Sends returned records and asserts that all of them are in the stream.
    pub async fn redeliver(&self, undelivered: Vec<Undelivered>) {
        let numbers = numbers_of(&undelivered);
        let mut sink = self.sink(builder());
        let records = undelivered.into_iter().map(Undelivered::into_record).map(Ok);
        in_time(stream::iter(records).forward(&mut sink)).await.unwrap();
        let found = self.find(numbers.iter().copied().map(payload)).await;
        assert_eq!((found.records, found.missing), (numbers.len(), 0));
    }

    async fn payloads_by_position(&self) -> HashMap<(String, String), Bytes> {
        let client = self.server.client();
        let mut payloads = HashMap::new();
        for shard in ["shardId-000000000000", "shardId-000000000001"] {
            let call = client.get_shard_iterator().stream_name(STREAM).shard_id(shard);
            let call = call.shard_iterator_type(ShardIteratorType::TrimHorizon);
            let mut iterator = call.send().await.unwrap().shard_iterator;
            loop {
                let call = client.get_records().set_shard_iterator(iterator);
                let page = call.send().await.unwrap();
                if page.records.is_empty() {
                    break;
                }
                iterator = page.next_shard_iterator;
                payloads.extend(page.records.into_iter().map(|record| {
                    ((shard.to_owned(), record.sequence_number), record.data.into_bytes())
                }));
            }
        }
        payloads
    }

    /// Asserts that each receipt names the shard and sequence number of its payload.
    pub async fn assert_receipts(&self, receipts: &[(Bytes, Delivery)]) {
        let payloads = self.payloads_by_position().await;
        for (payload, delivery) in receipts {
            let position = (delivery.shard_id().to_owned(), delivery.sequence_number().to_owned());
            assert!(payloads.get(&position) == Some(payload), "wrong payload at {position:?}");
        }
    }

    /// Asserts that the logs contain `cause`, but no payload and no long line.
    pub fn assert_logs(&self, cause: &str) {
        let lines = self.logs.lines();
        let named = lines.iter().any(|line| line.contains(cause));
        let longest = lines.iter().map(String::len).max().unwrap_or(0);
        assert!(longest < 3_000, "log line of {longest} bytes");
        assert!(named, "no log line contains {cause:?}: {lines:#?}");
        assert!(!lines.iter().any(|line| line.contains(PAYLOAD)), "a payload is in the logs");
    }
}

const PAYLOAD: &str = "the payload with the number";

pub fn payloads(numbers: Range<usize>) -> impl Iterator<Item = Bytes> {
    numbers.map(payload)
}

fn payload(number: usize) -> Bytes {
    format!("{PAYLOAD} {number}").into()
}

pub fn numbers_of(undelivered: &[Undelivered]) -> Vec<usize> {
    let number = |one: &Undelivered| {
        let text = str::from_utf8(one.record().data()).unwrap();
        text.strip_prefix(PAYLOAD).unwrap().trim().parse().unwrap()
    };
    let mut numbers: Vec<_> = undelivered.iter().map(number).collect();
    numbers.sort_unstable();
    numbers
}

pub fn record(number: usize) -> Record {
    Record::from(payload(number))
}

/// Returns a builder with small requests, no rate limit, short backoff, and a timeout for busy machines.
pub fn builder() -> SinkBuilder {
    let limits = Limits::default().with_request_entries(100);
    let limits = limits.with_shard_records(1_000_000).with_shard_bytes(1 << 40);
    KinesisSink::builder(STREAM).configure(|settings| {
        settings.limits = limits;
        settings.backoff.base = Duration::from_millis(5);
        settings.backoff.ceiling = Duration::from_millis(50);
        settings.request_timeout = Duration::from_secs(30);
    })
}

/// Returns a builder for faults that end only with a timeout.
pub fn builder_with_short_timeout() -> SinkBuilder {
    builder().configure(|settings| settings.request_timeout = Duration::from_secs(1))
}

/// Polls `condition` every millisecond until it is `true`, without a timeout.
pub async fn wait_until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

pub async fn in_time<T>(run: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), run).await.expect("the run ends within a minute")
}

pub async fn forward(sink: &mut KinesisSink, numbers: Range<usize>) -> Result<(), Error> {
    in_time(stream::iter(numbers).map(record).map(Ok).forward(sink)).await
}

/// Puts the records with these numbers from several tasks and returns the outcomes of their receipts.
pub async fn put_all(
    producer: &Producer,
    numbers: Range<usize>,
) -> Vec<Result<(Bytes, Delivery), Undelivered>> {
    const TASKS: usize = 8;
    let task = |first: usize| {
        let (producer, numbers) = (producer.clone(), numbers.clone());
        tokio::spawn(async move {
            let mut receipts = Vec::new();
            for number in numbers.skip(first).step_by(TASKS) {
                receipts.push((number, producer.put(record(number)).await.unwrap()));
            }
            let outcome = async |(number, receipt)| {
                let delivery: Result<Delivery, Undelivered> = receipt.await;
                delivery.map(|delivery| (payload(number), delivery))
            };
            future::join_all(receipts.into_iter().map(outcome)).await
        })
    };
    let outcomes = in_time(future::join_all((0..TASKS).map(task))).await;
    outcomes.into_iter().flat_map(Result::unwrap).collect()
}
