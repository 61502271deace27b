//! Tests that records at the limits of keys, payloads, and settings arrive unchanged or are returned with a reason.
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
