//! Use of a spool by a producer.
//!
//! The handles stage records, and the driver takes them from the spool once they are written.

#[cfg(not(feature = "spool"))]
mod disabled;
#[cfg(feature = "spool")]
mod drive;
#[cfg(feature = "spool")]
mod intake;
#[cfg(feature = "spool")]
mod stage;

#[cfg(not(feature = "spool"))]
pub(super) use disabled::{Intake, Spooling};
#[cfg(feature = "spool")]
pub(super) use intake::Intake;
#[cfg(feature = "spool")]
pub(super) use stage::Spooling;
