//! Up to where each partition may be committed.

use std::collections::{BTreeMap, BTreeSet};

/// The offsets of all partitions that are read and not known to be delivered.
#[derive(Debug, Default)]
pub struct Offsets(BTreeMap<u32, Partition>);

#[derive(Debug, Default)]
struct Partition {
    under_way: BTreeSet<u64>,
    /// One more than the latest offset that was read.
    next: u64,
}

impl Offsets {
    /// A message is about to be sent. Offsets of a partition come in order, but need not be dense: logs
    /// are compacted, and transactions leave markers.
    pub fn read(&mut self, partition: u32, offset: u64) {
        let partition = self.0.entry(partition).or_default();
        partition.under_way.insert(offset);
        partition.next = offset + 1;
    }

    /// A message is in the stream, whatever became of those before it.
    pub fn delivered(&mut self, partition: u32, offset: u64) {
        if let Some(partition) = self.0.get_mut(&partition) {
            partition.under_way.remove(&offset);
        }
    }

    /// The partition belongs to another consumer from now on.
    pub fn forget(&mut self, partition: u32) {
        self.0.remove(&partition);
    }

    /// Each partition with the offset below which everything that was read is delivered. A message that
    /// fails keeps its partition where it is.
    pub fn committable(&self) -> impl Iterator<Item = (u32, u64)> {
        self.0.iter().map(|(number, partition)| {
            (*number, partition.under_way.first().copied().unwrap_or(partition.next))
        })
    }
}
