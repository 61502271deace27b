//! Tests that records arrive unchanged or are returned with a reason if their keys and payloads, or the settings, are
//! at the limits of their ranges.
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
