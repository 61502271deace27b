//! Seeded scenarios on virtual time: the model of the whole sink, pacing, and the simulator itself.

#![cfg(feature = "sim")]

#[path = "../support/mod.rs"]
mod support;

mod pacing;
mod proof;
mod simulator;
