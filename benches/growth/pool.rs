//! The records that are sent.

use futures::{SinkExt, stream};
use kinesis_sink::Record;

use super::even_shards::EvenShards;
use super::mode::Sink;

/// Payloads, of all shards together.
const PAYLOADS: usize = 16_384;

/// Records that exist before anything is measured. Taking one out copies no payload, and costs the same
/// however many keys there are.
pub struct Pool {
    records: Vec<Record>,
}

impl Pool {
    /// So many records with so many keys in turn.
    pub fn new(records: usize, keys: usize, shards: &EvenShards) -> Self {
        // As many payloads for each number of shards and keys, so that as many of them are in the cache.
        let of_a_shard = PAYLOADS / shards.len();
        let payload = |number| shards.payload(number / of_a_shard);
        let payloads: Vec<_> = (0..PAYLOADS).map(payload).collect();
        let record = |number: usize| {
            let key = format!("device-{:07}", number % keys);
            let shard = shards.number_of(&key);
            let payload = payloads[shard * of_a_shard + number % of_a_shard].clone();
            Record::from((key, payload))
        };
        Self { records: (0..records).map(record).collect() }
    }

    /// The records from the first on, over and over.
    pub fn take(&self, records: usize) -> impl Iterator<Item = Record> {
        self.records.iter().cycle().take(records).cloned()
    }
}

/// Sends the records, and waits until all of them are settled.
pub async fn send(sink: &mut Sink, records: impl Iterator<Item = Record>) {
    let settled = sink.totals().delivered + sink.totals().failed;
    let mut sent = 0;
    let records = records.inspect(|_| sent += 1);
    sink.send_all(&mut stream::iter(records.map(Ok))).await.expect("everything is settled");
    assert_eq!(sink.totals().delivered + sink.totals().failed, settled + sent);
}
