//! Tests of the example `spool_kill`, and of spools whose process, directory or disk fails.

mod account;
mod disk;
mod kills;
