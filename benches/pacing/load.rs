//! The load offered to the producers. Records become available at fixed times, whether or not a producer takes them.

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

/// Size of each record in bytes, including the partition key of [`KEY_BYTES`] bytes.
pub const RECORD_BYTES: usize = 1_024;
pub const KEY_BYTES: usize = 8;

#[derive(Clone)]
pub enum Keys {
    /// No key: the producer generates a random one.
    Random,
    /// One of these keys, each with the same probability.
    Drawn(Arc<[Key]>),
    /// One of the hot keys for half of the records, and one of the cold keys for the other half.
    HotAndCold { hot: Arc<[Key]>, cold: Arc<[Key]> },
}

impl Keys {
    pub fn drawn(count: usize) -> Self {
        Self::Drawn((0..count).map(|number| Key::from(format!("key-{number:04}"))).collect())
    }
}

/// The load of one producer. Records depend only on their numbers, so leaving out some does not change the others.
#[derive(Clone)]
pub struct Load {
    pub seed: u64,
    /// Records per second.
    pub rate: f64,
    pub keys: Keys,
    pub without_hot: bool,
    /// Number of producers. This is the load of the producer with index `producer`.
    pub producers: u64,
    pub producer: u64,
    /// Size of a record in bytes, including the partition key.
    pub record_bytes: usize,
}

impl Load {
    pub fn offered_at(&self, number: u64) -> Duration {
        // Record numbers alternate between the producers.
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

/// Returns `bytes` bytes that start with the number.
pub fn payload(number: u64, bytes: usize) -> Bytes {
    let mut data = vec![b'.'; bytes];
    data[..8].copy_from_slice(&number.to_be_bytes());
    Bytes::from(data)
}

pub fn number_of(data: &[u8]) -> u64 {
    u64::from_be_bytes(*data.first_chunk().expect("a payload starts with its number"))
}

/// A stream of records that become ready at fixed times. After a pause between polls, all due records are ready.
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
