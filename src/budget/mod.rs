//! Budgets that several sinks and producers share.
//!
//! A [`Budget`] bounds the buffered records, their bytes, and the requests in flight of all sinks and producers that
//! are [built with it](crate::SinkBuilder::with_budget), its *members*. The bounds of the individual sinks and
//! producers apply as well. A [`Router`](crate::Router) has a budget for its streams.
//!
//! ```
//! use kinesis_sink::budget::{Budget, BudgetSettings};
//! use kinesis_sink::{KinesisSink, Record};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use kinesis_sink::sim::{Faults, SimStream};
//! # let outage = Faults::default().with_outage("ServiceUnavailable", 503);
//! # let orders = SimStream::builder().with_name("orders").with_faults(outage).build()?;
//! # let clicks = SimStream::builder().with_name("clicks").build()?;
//! # let (orders_client, clicks_client) = (orders.client(), clicks.client());
//! let mut settings = BudgetSettings::default();
//! settings.buffer_records = 1_000;
//! let budget = Budget::new(settings)?;
//! let orders = KinesisSink::builder("orders").with_budget(&budget).build(&orders_client)?.spawn();
//! let clicks = KinesisSink::builder("clicks").with_budget(&budget).build(&clicks_client)?.spawn();
//!
//! // The stream `orders` has an outage. Its producer gets at most half of the budget.
//! while orders.try_send(Record::from("an order")).is_ok() {}
//! assert_eq!(budget.buffered().records, 500);
//!
//! // The other producer uses the remaining half.
//! for number in 0..5_000 {
//!     clicks.send(Record::from(format!("click {number}"))).await?;
//! }
//! clicks.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Fair share
//!
//! The part of a member is the fraction of the budget that its records use: the larger one of the fractions of
//! [`buffer_records`](BudgetSettings::buffer_records) and of [`buffer_bytes`](BudgetSettings::buffer_bytes). A record
//! is accepted if, afterwards, the part of its member is at most as large as the part that is free. A member without
//! records gets whatever is free. This rule has the following effects:
//!
//! - A single active member uses up to one half of the budget.
//! - `k` members that grow at equal rates use up to one part of `k + 1` each, and one part remains free. All of the
//!   budget except for this part is in use whenever there are enough records.
//! - A member that does not make progress, for example because its stream has an outage, keeps its part, and the others
//!   divide the rest. If members stop making progress one after another, each of them keeps at most half of what was
//!   free, so the part of the others is halved each time. To limit the part of a single member further, lower its own
//!   bounds.
//! - A member that holds more than its share does not lose records. It accepts no new ones until its part is small
//!   enough.
//!
//! Members that wait for capacity are served in the order of their parts, the smallest first, and among equal parts the
//! member that was served least recently. Waiting calls of the same member are served in the order in which they were
//! made. If the next record needs more than what is free, smaller records of members with the same or a larger part do
//! not overtake it.
//!
//! Requests in flight are divided in the same way: a member sends a further request only while it has at most as many
//! requests in flight as there are free slots. Requests that take long, such as those that time out, therefore do not
//! use up all slots. A waiting member with few requests in flight is served before one with many.
//!
//! A producer divides its own buffer between the shards of its stream by the same rule, as described under
//! [backpressure](crate::Producer#backpressure).
//!
//! # What counts
//!
//! A record counts from the time it is accepted until it is settled. Failed records count until they are taken, as in
//! the bounds of a sink. Dropping a sink, or aborting the driver of a producer, releases its part, except for the
//! undelivered records that the producer keeps until they are taken.
//!
//! **Large records.** A record that is larger than half of the budget waits only until half of the budget is free, so
//! that it does not have to wait for the records of all other members. Two such records can exceed `buffer_bytes`.
//!
//! **Sinks that are not polled.** A [`KinesisSink`](crate::KinesisSink) makes progress only while it is polled. A sink
//! that is not polled keeps its buffered records, the capacity for one record that `poll_ready` has reserved, and at
//! most one slot in addition to those of its requests in flight, which complete without being polled. Poll or drop each
//! sink, or convert it into a [`Producer`](crate::Producer).

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
/// [`SinkBuilder::with_budget`](crate::SinkBuilder::with_budget) adds a sink to a budget, and
/// [`RouterBuilder::with_budget`](crate::router::RouterBuilder::with_budget) all streams of a router. Clones share the
/// same bounds. The [module documentation](self) describes how the budget is divided.
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
    ///
    /// The value includes capacity that is reserved for records that were not accepted yet.
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
