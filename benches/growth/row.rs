//! One line of the table.

use super::cost::Cost;

pub struct Row {
    /// What grows.
    pub what: &'static str,
    pub mode: &'static str,
    pub sizes: &'static [usize],
    run: Box<dyn Fn(usize) -> Cost>,
}

impl Row {
    pub fn new(
        what: &'static str,
        mode: &'static str,
        sizes: &'static [usize],
        run: impl Fn(usize) -> Cost + 'static,
    ) -> Self {
        Self { what, mode, sizes, run: Box::new(run) }
    }

    pub fn cost(&self, size: usize) -> Cost {
        (self.run)(size)
    }
}
