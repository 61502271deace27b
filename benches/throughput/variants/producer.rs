use std::collections::VecDeque;

use aws_sdk_kinesis::Client;
use kinesis_sink::{Producer, Receipt, Record};

use super::sink::builder;
use super::{Counts, Variant, put_records};
use crate::case::Case;
use crate::load::Load;

pub struct ThroughProducer {
    producer: Producer,
    /// Maximum number of pending receipts. `None` sends the records without receipts.
    window: Option<usize>,
}

impl ThroughProducer {
    pub fn new(case: Case, client: &Client, in_flight: usize) -> Self {
        let sink = builder(case, in_flight).build_with(put_records(case, client));
        let producer = sink.expect("the settings are valid").spawn();
        let window = (case == Case::ProducerReceipts)
            .then(|| 2 * in_flight * producer.limits().request_entries());
        Self { producer, window }
    }

    async fn send_all(&self, load: &Load, records: usize) {
        let mut receipts = VecDeque::with_capacity(self.window.unwrap_or(0));
        for number in 0..records {
            let record = Record::from(load.record(number));
            let Some(window) = self.window else {
                self.producer.send(record).await.expect("the producer is open");
                continue;
            };
            if receipts.len() == window {
                wait_for(receipts.pop_front()).await;
            }
            receipts.push_back(self.producer.put(record).await.expect("the producer is open"));
        }
        while !receipts.is_empty() {
            wait_for(receipts.pop_front()).await;
        }
        self.producer.flush().await.expect("all records are delivered");
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
