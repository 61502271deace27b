//! Budgets that several sinks and producers share.
//!
//! A [`Budget`] bounds the buffered records, their bytes, and the requests in flight of all sinks and producers that
//! are [built with it](crate::SinkBuilder::with_budget).

mod settings;

use std::fmt;
use std::sync::Arc;

pub use settings::BudgetSettings;

use crate::build_error::BuildError;
use crate::status::Buffered;

/// Bounds shared by several sinks and producers: buffered records and bytes, and requests in flight.
///
/// Clones share the same bounds. [`SinkBuilder::with_budget`](crate::SinkBuilder::with_budget) adds a sink to a budget.
#[derive(Clone)]
pub struct Budget(Arc<Inner>);

struct Inner {
    settings: BudgetSettings,
}

impl Budget {
    /// Creates a budget.
    ///
    /// # Errors
    ///
    /// Returns [`BuildError::OutOfRange`] if a setting is out of range.
    pub fn new(settings: BudgetSettings) -> Result<Self, BuildError> {
        settings.validate()?;
        Ok(Self(Arc::new(Inner { settings })))
    }

    /// Returns the settings of the budget.
    #[must_use]
    pub fn settings(&self) -> &BudgetSettings {
        &self.0.settings
    }

    /// Returns the number and size of the records that the members of the budget have buffered.
    #[must_use]
    pub fn buffered(&self) -> Buffered {
        Buffered::default()
    }

    /// Returns the number of requests that the members of the budget have in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        0
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget").field("settings", self.settings()).finish_non_exhaustive()
    }
}
