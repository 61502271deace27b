//! One line of the table.

use super::cost::Cost;

pub struct Row {
    /// What grows.
    pub what: &'static str,
    pub mode: &'static str,
    pub sizes: Vec<usize>,
    run: Box<dyn Fn(usize) -> Cost>,
}

impl Row {
    pub fn new(
        what: &'static str,
        mode: &'static str,
        sizes: &[usize],
        run: impl Fn(usize) -> Cost + 'static,
    ) -> Self {
        Self { what, mode, sizes: sizes.to_vec(), run: Box::new(run) }
    }

    /// The row without larger sizes.
    pub fn up_to(mut self, largest: usize) -> Self {
        self.sizes.retain(|size| *size <= largest);
        self
    }

    /// The row with this size alone, if it has it.
    pub fn only(mut self, size: usize) -> Option<Self> {
        self.sizes.retain(|one| *one == size);
        (!self.sizes.is_empty()).then_some(self)
    }

    pub fn cost(&self, size: usize) -> Cost {
        (self.run)(size)
    }
}
