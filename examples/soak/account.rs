//! What became of every record, in one byte each.

/// The state of a record: how often it was found, and what its sender was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct State(u8);

impl State {
    const ACCEPTED: u8 = 1;
    const DELIVERED: u8 = 1 << 1;
    const HANDED_BACK: u8 = 1 << 2;
    /// It was reported as delivered and had not been found at an earlier [`Account::look`].
    const OVERDUE: u8 = 1 << 3;
    const FOUND: u8 = 1 << 4;
    /// Three bits: how many more copies of it there may be.
    const COPY: u8 = 1 << 5;

    fn is(self, flag: u8) -> bool {
        self.0 & flag != 0
    }

    fn set(&mut self, flag: u8) {
        self.0 |= flag;
    }

    /// Seven copies at once are the most that are counted.
    fn allow_copy(&mut self) {
        self.0 = self.0.checked_add(Self::COPY).unwrap_or(self.0);
    }

    /// Whether there may be another copy.
    fn takes_copy(&mut self) -> bool {
        let less = self.0.checked_sub(Self::COPY);
        self.0 = less.unwrap_or(self.0);
        less.is_some()
    }
}

/// Records of a page: pages keep the account from being copied whenever it grows.
const PAGE: usize = 64 * 1024;

/// The records by their numbers, which are given out from 0.
#[derive(Debug, Default)]
pub struct Account {
    pages: Vec<Box<[State]>>,
    issued: u64,
    counts: Counts,
}

/// What is known of the records so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// The producer took them.
    pub accepted: u64,
    /// Their receipts said that they are in the stream.
    pub delivered: u64,
    /// Their receipts gave them back.
    pub handed_back: u64,
    /// Copies in the stream beside the first of each.
    pub duplicated: u64,
    /// Those of them that no unknown outcome explains.
    pub unexplained: u64,
    /// Found in the stream with another payload than was sent, or under a number that nobody sent.
    pub damaged: u64,
}

/// What is wrong with the records, see [`Account::look`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Missing {
    /// Reported as delivered and not in the stream.
    pub lost: u64,
    /// Accepted, and nothing was said of them since.
    pub without_end: u64,
}

impl Account {
    /// The number of the next record.
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

    pub fn handed_back(&mut self, number: u64) {
        self.counts.handed_back += 1;
        self.state(number).set(State::HANDED_BACK);
    }

    /// It was in a request whose outcome is unknown: it may be written, and will be sent again.
    pub fn may_have_been_written(&mut self, number: u64) {
        self.state(number).allow_copy();
    }

    /// It was read from the stream; none if what was read is no record that was sent.
    pub fn found(&mut self, number: Option<u64>) {
        match number.filter(|&number| number < self.issued) {
            None => self.counts.damaged += 1,
            Some(number) if self.state(number).is(State::FOUND) => {
                self.counts.duplicated += 1;
                self.counts.unexplained += u64::from(!self.state(number).takes_copy());
            }
            Some(number) => self.state(number).set(State::FOUND),
        }
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> u64 {
        (self.pages.len() * PAGE) as u64
    }

    /// What is missing. A record counts as lost when it was already missing at the look before: what
    /// was reported a moment ago may not have been read yet.
    pub fn look(&mut self) -> Missing {
        let mut missing = Missing::default();
        for state in self.pages.iter_mut().flat_map(|page| page.iter_mut()) {
            if state.is(State::DELIVERED) && !state.is(State::FOUND) {
                missing.lost += u64::from(state.is(State::OVERDUE));
                state.set(State::OVERDUE);
            }
            let has_end = state.is(State::DELIVERED | State::HANDED_BACK);
            missing.without_end += u64::from(state.is(State::ACCEPTED) && !has_end);
        }
        missing
    }

    fn state(&mut self, number: u64) -> &mut State {
        &mut self.pages[number as usize / PAGE][number as usize % PAGE]
    }
}
