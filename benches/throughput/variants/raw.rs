use std::future::Future;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::{Counts, STREAM, Variant, limits};
use crate::load::Load;

pub struct Raw {
    client: Client,
    in_flight: usize,
}

impl Raw {
    pub fn new(client: Client, in_flight: usize) -> Self {
        Self { client, in_flight }
    }

    async fn send_all(&self, load: &Load, records: usize) -> Counts {
        let limits = limits();
        let fit = limits.request_bytes() / load.record_bytes();
        let entries = limits.request_entries().min(fit);
        let mut in_flight = FuturesUnordered::new();
        let mut delivered = 0;
        for first in (0..records).step_by(entries) {
            if in_flight.len() == self.in_flight {
                delivered += in_flight.next().await.unwrap_or(0);
            }
            in_flight.push(self.put(load, first..records.min(first + entries)));
        }
        delivered += in_flight.fold(0, async |sum, more| sum + more).await;
        Counts { delivered, entries: delivered }
    }

    fn put(&self, load: &Load, numbers: std::ops::Range<usize>) -> impl Future<Output = u64> {
        let entries: Vec<_> = numbers.map(|number| entry(load, number)).collect();
        let sent = entries.len();
        let call = self.client.put_records().stream_name(STREAM).set_records(Some(entries));
        async move {
            let output = call.send().await.expect("the server accepts every request");
            assert_eq!(output.failed_record_count, Some(0));
            assert_eq!(output.records.len(), sent);
            sent as u64
        }
    }
}

fn entry(load: &Load, number: usize) -> PutRecordsRequestEntry {
    let (key, data) = load.record(number);
    let entry = PutRecordsRequestEntry::builder().data(Blob::from_maybe_shared(data));
    entry.partition_key(key).build().expect("data and key are set")
}

impl Variant for Raw {
    async fn warm_up(&mut self, load: &Load, records: usize) {
        self.send_all(load, records).await;
    }

    async fn send(self, load: &Load, records: usize) -> Counts {
        self.send_all(load, records).await
    }
}
