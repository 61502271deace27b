//! Conversions into and out of records, and what serde makes of them.
