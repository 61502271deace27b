//! Budgets that several sinks and producers share.
//!
//! A [`Budget`] bounds the buffered records, their bytes, and the requests in flight of all sinks and producers that
//! are [built with it](crate::SinkBuilder::with_budget).

mod fair_share;
mod member;
mod settings;
mod shares;

use std::fmt;
use std::sync::Arc;

pub(crate) use member::{Member, MemberAcquire, MemberPermit};
pub use settings::BudgetSettings;
pub(crate) use shares::{AcquireError, Permit, Shares, Woken};

use crate::build_error::BuildError;
use crate::pipeline::Size;
use crate::status::Buffered;

/// Bounds shared by several sinks and producers: buffered records and bytes, and requests in flight.
///
/// Clones share the same bounds. [`SinkBuilder::with_budget`](crate::SinkBuilder::with_budget) adds a sink to a budget.
#[derive(Clone)]
pub struct Budget(Arc<Inner>);

struct Inner {
    settings: BudgetSettings,
    buffer: Arc<Shares>,
    /// Request slots, counted as records without bytes.
    slots: Arc<Shares>,
}

impl Budget {
    /// Creates a budget.
    ///
    /// # Errors
    ///
    /// Returns [`BuildError::OutOfRange`] if a setting is out of range.
    pub fn new(settings: BudgetSettings) -> Result<Self, BuildError> {
        settings.validate()?;
        let BudgetSettings { buffer_records, buffer_bytes, max_in_flight } = settings;
        let buffer = Shares::new(Size { records: buffer_records, bytes: buffer_bytes });
        let slots = Shares::new(Size { records: max_in_flight, bytes: 1 });
        Ok(Self(Arc::new(Inner { settings, buffer: Arc::new(buffer), slots: Arc::new(slots) })))
    }

    /// Returns the settings of the budget.
    #[must_use]
    pub fn settings(&self) -> &BudgetSettings {
        &self.0.settings
    }

    /// Returns the number and size of the records that the members of the budget have buffered.
    #[must_use]
    pub fn buffered(&self) -> Buffered {
        self.0.buffer.used().into()
    }

    /// Returns the number of requests that the members of the budget have in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.0.slots.used().records
    }

    fn buffer(&self) -> &Arc<Shares> {
        &self.0.buffer
    }

    fn slots(&self) -> &Arc<Shares> {
        &self.0.slots
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget").field("settings", self.settings()).finish_non_exhaustive()
    }
}
