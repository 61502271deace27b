//! File system of a spool, behind a trait that a test replaces with a simulated disk.

mod disk;
#[cfg(test)]
mod fake;
mod interface;

pub(crate) use disk::DiskFiles;
#[cfg(test)]
pub(crate) use fake::{FakeFiles, Faults};
pub(crate) use interface::Files;
