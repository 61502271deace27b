//! Migrating from other producers to this crate.
//!
//! | from | chapter |
//! |---|---|
//! | the Python class `KinesisWriter` | [`kinesis_writer`] |
//! | a custom loop around `put_records` | [`put_records_loop`] |
//! | the Kinesis Producer Library (KPL), in Java | [`kpl`] |
//!
//! Every migration has the following steps:
//!
//! 1. **Change the consumers first** if you enable [aggregation](super::aggregation) and the old producer did not
//!    aggregate.
//! 2. **Test** your code with failing requests, against the [simulated stream](super::testing). Your code now receives
//!    [errors](super::failures) that the old producer did not report.
//! 3. **Run both producers** in parallel for some time, with different parts of the data. They share the stream's
//!    capacity, because the [rate limiter](super::pacing) leaves a share to other producers.
//! 4. **Compare** the number of records sent with the number of records read, and the throttles before and after the
//!    migration.

pub mod kinesis_writer;
pub mod kpl;
pub mod put_records_loop;
