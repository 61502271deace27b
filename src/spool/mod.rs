//! Durable spool: records that were accepted are kept on disk until they are delivered.

#![allow(dead_code, unused_imports, reason = "the worker uses these modules")]

mod files;
mod format;
#[cfg(test)]
mod fuzz_corpus;
mod log;
