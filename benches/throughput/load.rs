//! What is sent: the same records in the same order by every case.

use bytes::Bytes;

const KEYS: usize = 1_000;
const PAYLOADS: usize = 64;

pub struct Load {
    keys: Vec<String>,
    payloads: Vec<Bytes>,
}

impl Load {
    /// Payloads that no compression makes smaller, made once and shared: what making them costs is not
    /// measured.
    pub fn new(record_bytes: usize) -> Self {
        let mut rng = fastrand::Rng::with_seed(6);
        let mut payload = |_| (0..record_bytes).map(|_| rng.u8(..)).collect::<Vec<_>>().into();
        Self {
            keys: (0..KEYS).map(|number| format!("device-{number:04}")).collect(),
            payloads: (0..PAYLOADS).map(&mut payload).collect(),
        }
    }

    /// The key and the payload of a record. Neighbours have different ones.
    pub fn record(&self, number: usize) -> (&str, Bytes) {
        (&self.keys[number % KEYS], self.payloads[number % PAYLOADS].clone())
    }

    /// Bytes of a record as the service counts them.
    pub fn record_bytes(&self) -> usize {
        self.payloads[0].len() + self.keys[0].len()
    }
}
