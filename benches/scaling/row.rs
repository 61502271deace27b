use super::cost::Cost;

pub struct Row {
    /// Name of the quantity that varies within the row.
    pub dimension: &'static str,
    pub mode: &'static str,
    pub sizes: Vec<usize>,
    run: Box<dyn Fn(usize) -> Cost>,
}

impl Row {
    pub fn new(
        dimension: &'static str,
        mode: &'static str,
        sizes: &[usize],
        run: impl Fn(usize) -> Cost + 'static,
    ) -> Self {
        Self { dimension, mode, sizes: sizes.to_vec(), run: Box::new(run) }
    }

    pub fn up_to(mut self, largest: usize) -> Self {
        self.sizes.retain(|size| *size <= largest);
        self
    }

    /// Reduces the row to one size, or returns `None` if it does not have that size.
    pub fn only(mut self, size: usize) -> Option<Self> {
        self.sizes.retain(|one| *one == size);
        (!self.sizes.is_empty()).then_some(self)
    }

    pub fn cost(&self, size: usize) -> Cost {
        (self.run)(size)
    }
}
