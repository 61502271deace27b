use std::fmt::Display;
use std::io::Write;

/// Prints a line and ignores errors.
///
/// `eprintln!` would panic if the reader of a pipe has exited, and lose the records in memory.
pub fn print_line(text: impl Display) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
