//! Seeded scenarios on virtual time: a model of the whole sink, scenarios for the rate limiters, and the simulator.

#![cfg(feature = "sim")]

#[path = "../support/mod.rs"]
mod support;

mod model;
mod pacing;
mod simulator;
