use std::sync::Arc;

use super::cost::{Cost, Reading};
use super::service::Counter;

/// A measurement that starts when it is created.
pub struct Meter {
    counter: Arc<Counter>,
    begin: Reading,
}

impl Meter {
    pub fn start(counter: &Arc<Counter>) -> Self {
        Self { counter: counter.clone(), begin: counter.read() }
    }

    /// Stops the measurement and returns the cost of `records` records.
    pub fn records(self, records: usize) -> Cost {
        self.begin.cost_until(&self.counter.read(), records as u64)
    }
}
