//! Per-record composition: the producer as a `tower::Service`, and streams with context.
