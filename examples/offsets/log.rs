//! An in-memory log with partitions, consumers, and committed offsets, similar to Kafka's.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

pub enum Event {
    Messages(Vec<Message>),
    /// Partitions that the consumer must release.
    Revoked(Vec<u32>),
}

#[derive(Clone)]
pub struct Message {
    pub partition: u32,
    pub offset: u64,
    pub key: String,
    pub payload: Bytes,
}

/// A log that all clones and consumers share.
#[derive(Clone)]
pub struct Log(Arc<Mutex<Vec<Partition>>>);

struct Partition {
    messages: Vec<Message>,
    committed: u64,
}

impl Log {
    /// Creates a log with `messages` messages per partition. One offset in seven is unused, as after compaction.
    pub fn new(partitions: u32, messages: u64) -> Self {
        let message = |partition, offset| {
            let payload = Bytes::from(format!("message {offset} of partition {partition}"));
            Message { partition, offset, key: format!("key-{}", offset % 100), payload }
        };
        let partition = |number| Partition {
            messages: (0..)
                .filter(|offset| offset % 7 != 3)
                .take(messages as usize)
                .map(|offset| message(number, offset))
                .collect(),
            committed: 0,
        };
        Self(Arc::new(Mutex::new((0..partitions).map(partition).collect())))
    }

    /// Creates a consumer of these partitions, which starts at the committed offsets.
    pub fn consumer(&self, partitions: &[u32]) -> (Consumer, Rebalance) {
        let committed = |number: &u32| self.partitions()[*number as usize].committed;
        let assigned = partitions.iter().map(|number| (*number, committed(number))).collect();
        let (revoke, revoked) = watch::channel(Vec::new());
        let (release, released) = watch::channel(false);
        let position = Mutex::new(Position { assigned, last_polled: 0 });
        let consumer =
            Consumer { log: self.clone(), position, revoked: Mutex::new(revoked), release };
        (consumer, Rebalance { revoke, released })
    }

    /// Returns all messages whose offset is below the committed offset of their partition.
    pub fn committed(&self) -> Vec<Message> {
        let committed = |partition: &Partition| {
            let end = partition.messages.partition_point(|m| m.offset < partition.committed);
            partition.messages[..end].to_vec()
        };
        self.partitions().iter().flat_map(committed).collect()
    }

    fn partitions(&self) -> MutexGuard<'_, Vec<Partition>> {
        lock(&self.0)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A consumer of some of the partitions. Its methods take `&self`, like those of Kafka clients.
pub struct Consumer {
    log: Log,
    position: Mutex<Position>,
    revoked: Mutex<watch::Receiver<Vec<u32>>>,
    release: watch::Sender<bool>,
}

struct Position {
    /// Assigned partitions, each with the offset of the next message to read.
    assigned: Vec<(u32, u64)>,
    last_polled: usize,
}

impl Consumer {
    /// Returns up to `max_messages` messages of one partition, or `None` when all partitions have been read to the end.
    pub async fn poll(&self, max_messages: usize) -> Option<Event> {
        // A real client would wait for the network here.
        tokio::task::yield_now().await;
        let mut revoked = lock(&self.revoked);
        if revoked.has_changed().unwrap_or(false) {
            return Some(Event::Revoked(revoked.borrow_and_update().clone()));
        }
        let (mut position, partitions) = (lock(&self.position), self.log.partitions());
        let Position { assigned, last_polled } = &mut *position;
        for _ in 0..assigned.len() {
            *last_polled = (*last_polled + 1) % assigned.len();
            let (number, position) = &mut assigned[*last_polled];
            let messages = &partitions[*number as usize].messages;
            let start = messages.partition_point(|message| message.offset < *position);
            let read: Vec<_> = messages[start..].iter().take(max_messages).cloned().collect();
            if let Some(message) = read.last() {
                *position = message.offset + 1;
                return Some(Event::Messages(read));
            }
        }
        None
    }

    /// Commits an offset. The next consumer of the partition starts there.
    pub fn commit(&self, partition: u32, offset: u64) -> anyhow::Result<()> {
        let is_assigned =
            lock(&self.position).assigned.iter().any(|(assigned, _)| *assigned == partition);
        anyhow::ensure!(is_assigned, "partition {partition} is not assigned to this consumer");
        self.log.partitions()[partition as usize].committed = offset;
        Ok(())
    }

    /// Resets the read positions to the committed offsets.
    pub fn rewind(&self) {
        let (mut position, partitions) = (lock(&self.position), self.log.partitions());
        for (number, offset) in &mut position.assigned {
            *offset = partitions[*number as usize].committed;
        }
    }

    pub fn release(&self, partitions: &[u32]) {
        lock(&self.position).assigned.retain(|(assigned, _)| !partitions.contains(assigned));
        self.release.send_replace(true);
    }
}

/// The handle that a group coordinator uses to revoke partitions from a consumer.
pub struct Rebalance {
    revoke: watch::Sender<Vec<u32>>,
    released: watch::Receiver<bool>,
}

impl Rebalance {
    /// Revokes partitions and waits until the consumer has released them.
    pub async fn revoke(&mut self, partitions: &[u32]) {
        self.revoke.send_replace(partitions.to_vec());
        // An error means that the consumer was dropped, which releases its partitions.
        let _ = self.released.wait_for(|released| *released).await;
    }
}
