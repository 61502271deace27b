//! Seeded scenarios on virtual time: the model of the whole sink, pacing, and the simulator itself.

#![cfg(feature = "sim")]

#[path = "../support/mod.rs"]
mod support;

mod model;
mod pacing;
mod simulator;
