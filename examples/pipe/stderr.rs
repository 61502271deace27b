//! What the user is told.

use std::fmt::Display;
use std::io::Write;

/// To standard error, if anybody listens. Who reads it in a pipe may be gone, by the same Ctrl-C for example,
/// and `eprintln!` would panic then, with records in memory.
pub fn say(text: impl Display) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
