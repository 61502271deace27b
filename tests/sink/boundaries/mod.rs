//! Keys, payloads, sizes, and settings at the limits of their ranges. Records arrive unchanged or are returned with a
//! reason.
#![cfg(feature = "sim")]

mod encodings;
mod keys;
mod payloads;
mod random_settings;
mod record_sizes;
mod setting;
mod setting_ranges;
mod sim_setting_ranges;
mod workload;
