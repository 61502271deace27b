//! Runs through the proxy, and what is to be said of each.

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

use super::fault_plan::Orders;
use super::proxy::Proxy;
use crate::support::embedded::{Embedded, STREAM};
use crate::support::logs::Logs;
use crate::support::read_back::{Found, From, ReadBack};

/// A server, a proxy in front of it, and what is logged meanwhile.
pub struct Rig {
    server: Embedded,
    pub proxy: Proxy,
    pub logs: Logs,
}

impl Rig {
    /// With a proxy that takes connections.
    pub async fn start() -> Self {
        let mut rig = Self::start_with_the_proxy_down().await;
        rig.proxy.come_up();
        rig
    }

    /// With a proxy that refuses connections.
    pub async fn start_with_the_proxy_down() -> Self {
        Self::with(Embedded::start(2, false).await.unwrap())
    }

    /// With this server, and a proxy that refuses connections.
    pub fn with(server: Embedded) -> Self {
        let address = server.endpoint().strip_prefix("http://").unwrap().parse().unwrap();
        Self { server, proxy: Proxy::new(address), logs: Logs::listen(Level::DEBUG) }
    }

    pub fn orders(&self) -> &Orders {
        self.proxy.orders()
    }

    /// A client of the server behind the proxy.
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

    /// How often these payloads are in the stream.
    pub async fn find(&self, payloads: impl IntoIterator<Item = Bytes>) -> Found {
        let mut read_back =
            ReadBack::begin(self.server.client(), STREAM, From::Start).await.unwrap();
        payloads.into_iter().for_each(|payload| read_back.expect(payload));
        read_back.finish().await.unwrap()
    }

    /// Sends what came back: then the stream has everything.
    pub async fn deliver(&self, undelivered: Vec<Undelivered>) {
        let numbers = numbers_of(&undelivered);
        let mut sink = self.sink(builder());
        let records = undelivered.into_iter().map(Undelivered::into_record).map(Ok);
        in_time(stream::iter(records).forward(&mut sink)).await.unwrap();
        let found = self.find(numbers.iter().copied().map(payload)).await;
        assert_eq!((found.records, found.missing), (numbers.len(), 0));
    }

    /// The payload at each place of the stream: shard and sequence number.
    async fn places(&self) -> HashMap<(String, String), Bytes> {
        let client = self.server.client();
        let mut places = HashMap::new();
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
                places.extend(page.records.into_iter().map(|record| {
                    ((shard.to_owned(), record.sequence_number), record.data.into_bytes())
                }));
            }
        }
        places
    }

    /// What each receipt says is in the stream.
    pub async fn check(&self, receipts: &[(Bytes, Delivery)]) {
        let places = self.places().await;
        for (payload, delivery) in receipts {
            let place = (delivery.shard_id().to_owned(), delivery.sequence_number().to_owned());
            assert!(places.get(&place) == Some(payload), "another record is at {place:?}");
        }
    }

    /// One line at least says this, and none is long or shows a payload.
    pub fn check_logs(&self, cause: &str) {
        let lines = self.logs.lines();
        let named = lines.iter().any(|line| line.contains(cause));
        let longest = lines.iter().map(String::len).max().unwrap_or(0);
        assert!(longest < 3_000, "a line of {longest} bytes");
        assert!(named, "no line says {cause:?}: {lines:#?}");
        assert!(!lines.iter().any(|line| line.contains(PAYLOAD)), "a payload is in the logs");
    }
}

/// Every payload begins so.
const PAYLOAD: &str = "the payload with the number";

pub fn payloads(numbers: Range<usize>) -> impl Iterator<Item = Bytes> {
    numbers.map(payload)
}

fn payload(number: usize) -> Bytes {
    format!("{PAYLOAD} {number}").into()
}

/// The numbers of these records, in their order.
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

/// Small requests, so that few records are many of them, as many a second as the server takes, short waits
/// after failures, and no time-out that a busy machine would meet.
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

/// The same with a time-out for faults that only a time-out ends.
pub fn impatient() -> SinkBuilder {
    builder().configure(|settings| settings.request_timeout = Duration::from_secs(1))
}

/// Looks again and again. Whoever waits for it fails in time.
pub async fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Fails instead of hanging.
pub async fn in_time<T>(run: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), run).await.expect("it ends in time")
}

/// Forwards the records of these numbers, as most users do.
pub async fn forward(sink: &mut KinesisSink, numbers: Range<usize>) -> Result<(), Error> {
    in_time(stream::iter(numbers).map(record).map(Ok).forward(sink)).await
}

/// Puts the records of these numbers from several tasks, and returns what their receipts say.
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
