//! One error type with kinds, which gives records back.
