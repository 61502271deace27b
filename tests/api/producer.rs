//! A producer is a handle, and its sink is a second type.
