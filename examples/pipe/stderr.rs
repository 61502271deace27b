use std::fmt::Display;
use std::io::Write;

/// Prints a line and ignores errors: a panic of `eprintln!` on a closed pipe would lose the records in memory.
pub fn print_line(text: impl Display) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
