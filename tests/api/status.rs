//! The status of a sink and of a producer.
