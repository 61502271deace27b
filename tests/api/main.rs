//! The public API as its users write it: one file for each topic.

#[cfg(feature = "aws-config")]
mod check;
mod compile_errors;
mod composition;
mod conversions;
mod errors;
mod layers;
#[path = "../logs/mod.rs"]
mod logs;
mod names;
mod producer;
mod receipts;
mod settings;
mod status;
