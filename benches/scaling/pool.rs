use futures::{SinkExt, stream};
use kinesis_sink::Record;

use super::even_shards::EvenShards;
use super::mode::Sink;

const PAYLOADS: usize = 16_384;

/// Records created in advance. Taking one does not copy its payload, and costs the same for any number of keys.
pub struct Pool {
    records: Vec<Record>,
}

impl Pool {
    /// Creates `records` records, which have `keys` partition keys in rotation.
    pub fn new(records: usize, keys: usize, shards: &EvenShards) -> Self {
        // The number of payloads is constant, so that they always occupy the same share of the CPU caches.
        let per_shard = PAYLOADS / shards.len();
        let payload = |number| shards.payload(number / per_shard);
        let payloads: Vec<_> = (0..PAYLOADS).map(payload).collect();
        let record = |number: usize| {
            let key = format!("device-{:07}", number % keys);
            let shard = shards.number_of(&key);
            let payload = payloads[shard * per_shard + number % per_shard].clone();
            Record::from((key, payload))
        };
        Self { records: (0..records).map(record).collect() }
    }

    /// Returns the first `records` records of the pool. If the pool has fewer, it repeats.
    pub fn take(&self, records: usize) -> impl Iterator<Item = Record> {
        self.records.iter().cycle().take(records).cloned()
    }
}

/// Sends the records, and waits until each of them is delivered or has failed.
pub async fn send(sink: &mut Sink, records: impl Iterator<Item = Record>) {
    let settled = sink.totals().delivered + sink.totals().failed;
    let mut sent = 0;
    let records = records.inspect(|_| sent += 1);
    sink.send_all(&mut stream::iter(records.map(Ok))).await.expect("the sink does not fail");
    assert_eq!(sink.totals().delivered + sink.totals().failed, settled + sent);
}
