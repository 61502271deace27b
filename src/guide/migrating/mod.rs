//! Migration from other producers to this crate.
//!
//! | today | chapter |
//! |---|---|
//! | the Python class `KinesisWriter` | [`kinesis_writer`] |
//! | a loop of your own around `put_records` | [`put_records_loop`] |
//! | the Kinesis Producer Library (KPL), in Java | [`kpl`] |
//!
//! Whatever it is, do it in this order:
//!
//! 1. **Consumers first**, if you will [aggregate](super::aggregation) and did not before.
//! 2. **Test** against the [simulated stream](super::testing) what your code does when requests fail. Most
//!    of what is new to it are the [errors](super::failures) that nobody told before.
//! 3. **Run both** for a while, on different parts of the data. They share the stream: the
//!    [pace](super::pacing) leaves others their part.
//! 4. **Compare** the records sent with those read, and the throttles before and after.

pub mod kinesis_writer;
pub mod kpl;
pub mod put_records_loop;
