//! Budgets that several sinks and producers share.
//!
//! A [`Budget`] bounds the buffered records, their bytes, and the requests in flight of all sinks and producers that
//! are [built with it](crate::SinkBuilder::with_budget), its *members*. The bounds of the individual sinks and
//! producers apply as well. A [`Router`](crate::Router) has a budget, in which each open stream is a member.
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
//! // The stream `orders` has an outage. Its producer gets its reserve of 31 records, and half of the common 504.
//! while orders.try_send(Record::from("an order")).is_ok() {}
//! assert_eq!(budget.buffered().records, 283);
//!
//! // The other producer uses the rest.
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
//! One half of the budget is divided into equal *reserves*, one for each member. There are at least 16 reserves, so that
//! members that are added later find one. With more members, their number is a power of two. The other half is *common
//! space*. A member uses its reserve first. Then it can use common space as long as it uses at most as much as is free
//! afterwards. A member without records gets whatever is free.
//!
//! The rule applies to the larger one of two fractions: that of
//! [`buffer_records`](BudgetSettings::buffer_records) and that of [`buffer_bytes`](BudgetSettings::buffer_bytes). It
//! has the following effects:
//!
//! - A member that does not make progress, for example because its stream has an outage, keeps its reserve and at most
//!   half of the common space that the others have left. Members that stop one after another can use up the common
//!   space, but not the reserves of the others.
//! - 16 members that are all busy use more than 80 % of the budget. A single busy member uses its reserve and half of
//!   the common space: 28 % with up to 16 members, and at least 25 % with more. To limit a member further, lower its own
//!   bounds.
//! - Reserves are rounded down. With more than 128 members, none of the default 256 requests in flight is reserved.
//!   When the number of reserves is doubled, members can still use the space of the new ones. Until they release it,
//!   the rule for the common space applies to all of the space.
//! - A member that holds more than its share does not lose records. It accepts no new ones until its usage is small
//!   enough.
//!
//! Members that wait for capacity are served in the order of their usage, the smallest first, and with equal usage the
//! member that was served least recently. Waiting calls of the same member are served in the order in which they were
//! made. If the next record needs more than what is free, smaller records of members with the same or a larger usage do
//! not overtake it.
//!
//! Requests in flight are divided by the same rule. Requests that take long, such as those that time out, therefore do
//! not use up all permits. A waiting member with few requests in flight is served before one with many.
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
//! **Large records.** A record that is larger than half of the budget waits only until half of the budget is free and its
//! member holds no other record, so that it does not have to wait for the records of all other members. Two such records
//! can exceed `buffer_bytes`.
//!
//! **Sinks that are not polled.** A [`KinesisSink`](crate::KinesisSink) makes progress only while it is polled. A sink
//! that is not polled keeps its buffered records, the capacity for one record that `poll_ready` has reserved, and at
//! most one permit for a request in addition to those of its requests in flight, which complete without being polled. Poll or drop each
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
    /// Permits for requests, counted as records without bytes.
    requests: Arc<Shares>,
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
        let buffer = Shares::of_budget(Size { records: buffer_records, bytes: buffer_bytes });
        let requests = Shares::of_budget(Size { records: max_in_flight, bytes: 1 });
        Ok(Self(Arc::new(Inner {
            settings,
            buffer: Arc::new(buffer),
            requests: Arc::new(requests),
        })))
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
        self.0.requests.used().records
    }

    fn buffer(&self) -> &Arc<Shares> {
        &self.0.buffer
    }

    fn requests(&self) -> &Arc<Shares> {
        &self.0.requests
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget").field("settings", self.settings()).finish_non_exhaustive()
    }
}
