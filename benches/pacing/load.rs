//! What is offered: records that become available at their times, whether anybody takes them or not.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use futures::Stream;
use kinesis_sink::Record;
use kinesis_sink::record::Key;
use tokio::time::{Instant, Sleep, sleep_until};

/// Bytes of each record, its partition key of [`KEY_BYTES`] included.
pub const RECORD_BYTES: usize = 1_024;
pub const KEY_BYTES: usize = 8;

/// Where the records' partition keys come from.
#[derive(Clone)]
pub enum Keys {
    /// There are none to keep: whoever sends a record draws one.
    Random,
    /// Out of these, all alike.
    Drawn(Arc<[Key]>),
    /// Half of the records have one of the hot keys, half one of the cold ones.
    HotAndCold { hot: Arc<[Key]>, cold: Arc<[Key]> },
}

impl Keys {
    pub fn drawn(count: usize) -> Self {
        Self::Drawn((0..count).map(|number| Key::from(format!("key-{number:04}"))).collect())
    }
}

/// What one producer is offered. All of it follows from a record's number, so that a run without some of
/// the records is the same for the others.
#[derive(Clone)]
pub struct Load {
    pub seed: u64,
    /// Records a second.
    pub rate: f64,
    pub keys: Keys,
    /// Leaves out the records with hot keys.
    pub without_hot: bool,
    /// Out of how many producers this is the one with the number `producer`.
    pub producers: u64,
    pub producer: u64,
    /// Of data and partition key.
    pub record_bytes: usize,
}

impl Load {
    /// When a record is offered.
    pub fn offered_at(&self, number: u64) -> Duration {
        // The producers take turns.
        Duration::from_secs_f64(number as f64 / (self.rate * self.producers as f64))
    }

    pub fn is_hot(&self, number: u64) -> bool {
        matches!(self.keys, Keys::HotAndCold { .. }) && self.rng(number).bool()
    }

    fn key(&self, number: u64) -> Option<Key> {
        let mut rng = self.rng(number);
        match &self.keys {
            Keys::Random => None,
            Keys::Drawn(keys) => rng.choice(keys.iter()).cloned(),
            Keys::HotAndCold { hot, cold } => {
                let keys = if rng.bool() { hot } else { cold };
                rng.choice(keys.iter()).cloned()
            }
        }
    }

    fn rng(&self, number: u64) -> Rng {
        Rng::with_seed(self.seed.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }
}

/// One record on offer.
#[derive(Debug, Clone)]
pub struct Offered {
    pub number: u64,
    pub key: Option<Key>,
    pub bytes: usize,
}

impl Offered {
    pub fn record(self) -> Record {
        let key = self.key.as_ref().map_or(KEY_BYTES, |key| key.len());
        let record = Record::from(payload(self.number, self.bytes - key));
        match self.key {
            Some(key) => record.with_partition_key(key),
            None => record,
        }
    }
}

/// So many bytes with the number at their front.
pub fn payload(number: u64, bytes: usize) -> Bytes {
    let mut data = vec![b'.'; bytes];
    data[..8].copy_from_slice(&number.to_be_bytes());
    Bytes::from(data)
}

/// The number at the front of a payload.
pub fn number_of(data: &[u8]) -> u64 {
    u64::from_be_bytes(*data.first_chunk().expect("every payload begins with its number"))
}

/// Offers a load until a certain time. A source that was not asked for a while is behind, and ready at
/// once.
pub struct Source {
    load: Load,
    next: u64,
    start: Instant,
    end: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Source {
    pub fn new(load: Load, time: Duration) -> Self {
        let start = Instant::now();
        let next = load.producer;
        Self { load, next, start, end: start + time, timer: Box::pin(sleep_until(start)) }
    }

    /// When it stops to offer anything.
    pub fn end(&self) -> Instant {
        self.end
    }
}

impl Stream for Source {
    type Item = Offered;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Offered>> {
        loop {
            let now = Instant::now();
            if now >= self.end {
                return Poll::Ready(None);
            }
            let due = self.start + self.load.offered_at(self.next);
            if due <= now {
                let number = self.next;
                self.next += self.load.producers;
                if self.load.without_hot && self.load.is_hot(number) {
                    continue;
                }
                let (key, bytes) = (self.load.key(number), self.load.record_bytes);
                return Poll::Ready(Some(Offered { number, key, bytes }));
            }
            let until = due.min(self.end);
            self.timer.as_mut().reset(until);
            ready!(self.timer.as_mut().poll(cx));
        }
    }
}
