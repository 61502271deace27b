//! Durable spool: records that were accepted are kept on disk until they are delivered.

// The worker uses these modules.
#![allow(dead_code, unused_imports)]

mod files;
mod format;
mod log;
