//! The state of every record, in one byte each.

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct State(u8);

impl State {
    const ACCEPTED: u8 = 1;
    const DELIVERED: u8 = 1 << 1;
    const RETURNED: u8 = 1 << 2;
    /// Delivered, and not found at a previous [`Account::check_missing`].
    const OVERDUE: u8 = 1 << 3;
    const FOUND: u8 = 1 << 4;
    /// The number of duplicates to expect, in three bits.
    const DUPLICATE: u8 = 1 << 5;

    fn is(self, flag: u8) -> bool {
        self.0 & flag != 0
    }

    fn set(&mut self, flag: u8) {
        self.0 |= flag;
    }

    /// Saturates at seven duplicates.
    fn expect_duplicate(&mut self) {
        self.0 = self.0.checked_add(Self::DUPLICATE).unwrap_or(self.0);
    }

    fn take_expected_duplicate(&mut self) -> bool {
        let rest = self.0.checked_sub(Self::DUPLICATE);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }
}

/// Number of records per page. Pages avoid copies when the account grows.
const PAGE: usize = 64 * 1024;

/// The states of all records, indexed by their numbers.
#[derive(Debug, Default)]
pub struct Account {
    pages: Vec<Box<[State]>>,
    issued: u64,
    counts: Counts,
}

/// Counts of the records so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Records accepted by the producer.
    pub accepted: u64,
    /// Records whose receipts returned a delivery.
    pub delivered: u64,
    /// Records whose receipts returned an error.
    pub returned: u64,
    /// Duplicates in the stream.
    pub duplicated: u64,
    /// Duplicates that are not explained by a request with an unknown outcome.
    pub unexplained: u64,
    /// Records in the stream whose payload differs from that sent, or whose number was not sent.
    pub damaged: u64,
}

/// Counts of missing records and outcomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Missing {
    /// Delivered records that are not in the stream.
    pub lost: u64,
    /// Accepted records without an outcome.
    pub pending: u64,
}

impl Account {
    /// Returns the number of the next record. The first one is 0.
    pub fn issue(&mut self) -> u64 {
        let number = self.issued;
        self.issued += 1;
        if self.pages.len() * PAGE <= number as usize {
            self.pages.push(vec![State::default(); PAGE].into_boxed_slice());
        }
        number
    }

    pub fn accepted(&mut self, number: u64) {
        self.counts.accepted += 1;
        self.state(number).set(State::ACCEPTED);
    }

    pub fn delivered(&mut self, number: u64) {
        self.counts.delivered += 1;
        self.state(number).set(State::DELIVERED);
    }

    pub fn returned(&mut self, number: u64) {
        self.counts.returned += 1;
        self.state(number).set(State::RETURNED);
    }

    /// Records that a request with this record has an unknown outcome, so that a duplicate may occur.
    pub fn may_have_been_written(&mut self, number: u64) {
        self.state(number).expect_duplicate();
    }

    /// Records that a record was read from the stream. `number` is `None` if its payload is damaged.
    pub fn found(&mut self, number: Option<u64>) {
        match number.filter(|&number| number < self.issued) {
            None => self.counts.damaged += 1,
            Some(number) if self.state(number).is(State::FOUND) => {
                self.counts.duplicated += 1;
                self.counts.unexplained += u64::from(!self.state(number).take_expected_duplicate());
            }
            Some(number) => self.state(number).set(State::FOUND),
        }
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Returns the size of the account in memory.
    pub fn bytes(&self) -> u64 {
        (self.pages.len() * PAGE) as u64
    }

    /// Counts missing records and outcomes.
    ///
    /// A record is lost if it was missing at the previous check as well, because the reader is behind the sender.
    pub fn check_missing(&mut self) -> Missing {
        let mut missing = Missing::default();
        for state in self.pages.iter_mut().flat_map(|page| page.iter_mut()) {
            if state.is(State::DELIVERED) && !state.is(State::FOUND) {
                missing.lost += u64::from(state.is(State::OVERDUE));
                state.set(State::OVERDUE);
            }
            let is_settled = state.is(State::DELIVERED | State::RETURNED);
            missing.pending += u64::from(state.is(State::ACCEPTED) && !is_settled);
        }
        missing
    }

    fn state(&mut self, number: u64) -> &mut State {
        &mut self.pages[number as usize / PAGE][number as usize % PAGE]
    }
}
