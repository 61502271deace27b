use std::fmt::Display;
use std::io::Write;

/// Prints a line to standard error and ignores write errors.
///
/// If standard error is a pipe whose reader has exited, `eprintln!` would panic, and the records in memory would be
/// lost.
pub fn print_line(text: impl Display) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
