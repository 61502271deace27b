use bytes::Bytes;

const KEYS: usize = 1_000;
const PAYLOADS: usize = 64;

pub struct Load {
    keys: Vec<String>,
    payloads: Vec<Bytes>,
}

impl Load {
    /// Creates incompressible payloads in advance, so that the time to create them is not measured.
    pub fn new(record_bytes: usize) -> Self {
        let mut rng = fastrand::Rng::with_seed(6);
        let mut payload = |_| (0..record_bytes).map(|_| rng.u8(..)).collect::<Vec<_>>().into();
        Self {
            keys: (0..KEYS).map(|number| format!("device-{number:04}")).collect(),
            payloads: (0..PAYLOADS).map(&mut payload).collect(),
        }
    }

    pub fn record(&self, number: usize) -> (&str, Bytes) {
        (&self.keys[number % KEYS], self.payloads[number % PAYLOADS].clone())
    }

    /// Returns the size of a record as the service counts it, which includes the key.
    pub fn record_bytes(&self) -> usize {
        self.payloads[0].len() + self.keys[0].len()
    }
}
