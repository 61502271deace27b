//! Migrating from other producers to this crate.
//!
//! | from | chapter |
//! |---|---|
//! | the Python class `KinesisWriter` | [`kinesis_writer`] |
//! | a custom loop around `put_records` | [`put_records_loop`] |
//! | the Kinesis Producer Library (KPL), in Java | [`kpl`] |
//!
//! All migrations have these steps:
//!
//! 1. **Change the consumers first**, if the new producer [aggregates](super::aggregation) and the old one did not.
//! 2. **Test** your code with failing requests, against the [simulated stream](super::testing). It gets
//!    [errors](super::failures) that the old producer did not report.
//! 3. **Run both producers** for a while, on different parts of the data. They share the capacity of the stream: the
//!    [rate limiter](super::pacing) leaves others their share.
//! 4. **Compare** the number of records sent with those read, and the throttles before and after.

pub mod kinesis_writer;
pub mod kpl;
pub mod put_records_loop;
