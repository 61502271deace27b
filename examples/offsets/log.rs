//! A log with partitions and committed offsets, as a consumer of Kafka or the like sees it, in this process.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

/// What a consumer finds when it polls.
pub enum Event {
    Messages(Vec<Message>),
    /// Another consumer is to have these partitions, once this one has released them.
    Revoked(Vec<u32>),
}

#[derive(Clone)]
pub struct Message {
    pub partition: u32,
    pub offset: u64,
    pub key: String,
    pub payload: Bytes,
}

/// The log itself, which outlives its consumers.
#[derive(Clone)]
pub struct Log(Arc<Mutex<Vec<Partition>>>);

struct Partition {
    messages: Vec<Message>,
    committed: u64,
}

impl Log {
    /// Every seventh offset is left out, as if it had been compacted away.
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

    /// A consumer that goes on where these partitions were committed.
    pub fn consumer(&self, partitions: &[u32]) -> (Consumer, Rebalance) {
        let committed = |number: &u32| self.partitions()[*number as usize].committed;
        let assigned = partitions.iter().map(|number| (*number, committed(number))).collect();
        let (revoke, revoked) = watch::channel(Vec::new());
        let (release, released) = watch::channel(false);
        let position = Mutex::new(Position { assigned, turn: 0 });
        let consumer =
            Consumer { log: self.clone(), position, revoked: Mutex::new(revoked), release };
        (consumer, Rebalance { revoke, released })
    }

    /// The messages that no consumer would get any more.
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

/// Reads some partitions of the log and commits how far it came. Shared, as the consumers of Kafka's clients are.
pub struct Consumer {
    log: Log,
    position: Mutex<Position>,
    revoked: Mutex<watch::Receiver<Vec<u32>>>,
    release: watch::Sender<bool>,
}

struct Position {
    /// Partitions and the offsets from which to read on.
    assigned: Vec<(u32, u64)>,
    /// Whose turn it is.
    turn: usize,
}

impl Consumer {
    /// The next messages of one of the partitions, at most so many. None at the end of all of them.
    pub async fn poll(&self, most: usize) -> Option<Event> {
        // Others have their turn, as they would while a network is waited for.
        tokio::task::yield_now().await;
        let mut revoked = lock(&self.revoked);
        if revoked.has_changed().unwrap_or(false) {
            return Some(Event::Revoked(revoked.borrow_and_update().clone()));
        }
        let (mut position, partitions) = (lock(&self.position), self.log.partitions());
        let Position { assigned, turn } = &mut *position;
        for _ in 0..assigned.len() {
            *turn = (*turn + 1) % assigned.len();
            let (number, position) = &mut assigned[*turn];
            let messages = &partitions[*number as usize].messages;
            let start = messages.partition_point(|message| message.offset < *position);
            let read: Vec<_> = messages[start..].iter().take(most).cloned().collect();
            if let Some(last) = read.last() {
                *position = last.offset + 1;
                return Some(Event::Messages(read));
            }
        }
        None
    }

    /// Whoever reads the partition next begins with this offset.
    pub fn commit(&self, partition: u32, offset: u64) -> anyhow::Result<()> {
        let is_mine = lock(&self.position).assigned.iter().any(|(mine, _)| *mine == partition);
        anyhow::ensure!(is_mine, "partition {partition} belongs to another consumer");
        self.log.partitions()[partition as usize].committed = offset;
        Ok(())
    }

    /// Reads on from the committed offsets.
    pub fn rewind(&self) {
        let (mut position, partitions) = (lock(&self.position), self.log.partitions());
        for (number, offset) in &mut position.assigned {
            *offset = partitions[*number as usize].committed;
        }
    }

    /// Lets go of partitions that were revoked.
    pub fn release(&self, partitions: &[u32]) {
        lock(&self.position).assigned.retain(|(mine, _)| !partitions.contains(mine));
        self.release.send_replace(true);
    }
}

/// What the group's coordinator has in hand about a consumer.
pub struct Rebalance {
    revoke: watch::Sender<Vec<u32>>,
    released: watch::Receiver<bool>,
}

impl Rebalance {
    /// Takes partitions away from the consumer, and waits until it has let go of them.
    pub async fn revoke(&mut self, partitions: &[u32]) {
        self.revoke.send_replace(partitions.to_vec());
        // A consumer that has ended has let go of everything.
        let _ = self.released.wait_for(|released| *released).await;
    }
}
