//! The state of each record, in one byte per record.

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct State(u8);

impl State {
    const ACCEPTED: u8 = 1;
    const DELIVERED: u8 = 1 << 1;
    const RETURNED: u8 = 1 << 2;
    /// The record was delivered, but a previous call of [`Account::check_missing`] did not find it on the stream.
    const OVERDUE: u8 = 1 << 3;
    const FOUND: u8 = 1 << 4;
    /// The lowest of three bits that contain the number of expected duplicates.
    const DUPLICATE: u8 = 1 << 5;

    fn is(self, flag: u8) -> bool {
        self.0 & flag != 0
    }

    fn set(&mut self, flag: u8) {
        self.0 |= flag;
    }

    /// Adds an expected duplicate. The number saturates at seven.
    fn expect_duplicate(&mut self) {
        self.0 = self.0.checked_add(Self::DUPLICATE).unwrap_or(self.0);
    }

    fn take_expected_duplicate(&mut self) -> bool {
        let rest = self.0.checked_sub(Self::DUPLICATE);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }
}

/// Number of records per page. The account consists of pages so that it can grow without copying states.
const PAGE: usize = 64 * 1024;

#[derive(Debug, Default)]
pub struct Account {
    pages: Vec<Box<[State]>>,
    issued: u64,
    counts: Counts,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub accepted: u64,
    pub delivered: u64,
    /// Records whose receipts returned an error.
    pub returned: u64,
    pub duplicated: u64,
    /// Duplicates that are not explained by a request with an unknown outcome.
    pub unexplained: u64,
    /// Records on the stream whose payload is damaged or whose number was not sent.
    pub damaged: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Missing {
    /// Delivered records that are not on the stream.
    pub lost: u64,
    /// Accepted records without an outcome.
    pub pending: u64,
}

impl Account {
    /// Returns the number for the next record. Numbers start at 0.
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

    /// Expects a duplicate of a record. Must be called when a request with this record has an unknown outcome.
    pub fn may_have_been_written(&mut self, number: u64) {
        self.state(number).expect_duplicate();
    }

    /// Counts a record that was read from the stream. `number` is `None` if the payload is damaged.
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

    pub fn bytes(&self) -> u64 {
        (self.pages.len() * PAGE) as u64
    }

    /// Counts missing records and missing outcomes. Because the reader lags behind the senders, a record counts as lost
    /// only if two consecutive checks miss it.
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
