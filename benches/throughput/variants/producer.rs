use std::collections::VecDeque;
use std::path::PathBuf;

use aws_sdk_kinesis::Client;
use futures::{StreamExt, stream};
use kinesis_sink::spool::Spool;
use kinesis_sink::{Producer, Receipt, Record};

use super::sink::builder;
use super::{Counts, Variant, put_records};
use crate::case::Case;
use crate::load::Load;

pub struct ThroughProducer {
    producer: Producer,
    way: Way,
    _directory: Directory,
}

/// How records are passed to the producer.
enum Way {
    Send,
    /// `put`, with this maximum number of pending receipts.
    Receipts(usize),
    Sink,
}

/// Directory of a spool, which is removed on drop.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let name = format!("kinesis-sink-throughput-{}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl ThroughProducer {
    pub fn new(case: Case, client: &Client, in_flight: usize) -> Self {
        let directory = Directory::new();
        let mut builder = builder(case, in_flight);
        if let Some((mode, sync)) = case.spool() {
            let spool = Spool::at(&directory.0).with_mode(mode).with_sync(sync);
            builder = builder.with_spool(spool);
        }
        let sink = builder.build_with(put_records(case, client));
        let producer = sink.expect("the settings are valid").spawn();
        let way = match case {
            Case::Producer => Way::Send,
            Case::ProducerReceipts => {
                Way::Receipts(2 * in_flight * producer.limits().request_entries())
            }
            _ => Way::Sink,
        };
        Self { producer, way, _directory: directory }
    }

    async fn send_all(&self, load: &Load, records: usize) {
        let records = (0..records).map(|number| Record::from(load.record(number)));
        match self.way {
            Way::Send => {
                for record in records {
                    self.producer.send(record).await.expect("the producer is open");
                }
            }
            Way::Receipts(window) => self.put_all(window, records).await,
            Way::Sink => {
                let records = stream::iter(records.map(Ok));
                records.forward(self.producer.sink()).await.expect("all records are delivered");
            }
        }
        self.producer.flush().await.expect("all records are delivered");
    }

    async fn put_all(&self, window: usize, records: impl Iterator<Item = Record>) {
        let mut receipts = VecDeque::with_capacity(window);
        for record in records {
            if receipts.len() == window {
                wait_for(receipts.pop_front()).await;
            }
            receipts.push_back(self.producer.put(record).await.expect("the producer is open"));
        }
        while !receipts.is_empty() {
            wait_for(receipts.pop_front()).await;
        }
    }
}

async fn wait_for(receipt: Option<Receipt>) {
    if let Some(receipt) = receipt {
        let delivery = receipt.await.expect("the record is delivered");
        assert!(!delivery.sequence_number().is_empty());
    }
}

impl Variant for ThroughProducer {
    async fn warm_up(&mut self, load: &Load, records: usize) {
        self.send_all(load, records).await;
    }

    async fn send(self, load: &Load, records: usize) -> Counts {
        let before = self.producer.status().totals;
        self.send_all(load, records).await;
        let after = self.producer.status().totals;
        Counts {
            delivered: after.delivered - before.delivered,
            entries: after.entries - before.entries,
        }
    }
}
