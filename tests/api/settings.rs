//! Settings from files and environments.
