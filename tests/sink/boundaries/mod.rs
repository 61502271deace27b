//! What a user may hand in and set, at its ends: keys, payloads, sizes, settings. All of it arrives as it was handed
//! in, or comes back with the reason.
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
