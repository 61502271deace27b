//! Durable spool: records that were accepted are kept on disk until they are delivered.

mod error;
mod files;
mod format;
#[cfg(test)]
mod fuzz_corpus;
mod log;
mod settings;
mod status;
pub(crate) mod worker;

pub use error::{SpoolError, SpoolErrorKind};
pub use settings::{Spool, SpoolMode, Sync, WhenFull};
pub use status::SpoolStatus;
