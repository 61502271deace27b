//! What a user may hand in and set, at its ends: keys, payloads, sizes, settings. All of it arrives as it was handed
//! in, or comes back with the reason.
#![cfg(feature = "sim")]

mod client;
mod drawn;
mod ends;
mod keys;
mod large;
mod payloads;
mod range;
mod sim_ends;
mod traffic;
