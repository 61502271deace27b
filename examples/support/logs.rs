//! The log of an example.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Writes the log to standard error, filtered by RUST_LOG or else by `filter`.
#[allow(dead_code, reason = "each example uses one of the functions")]
pub fn begin(filter: &str) {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(shows_colors())
        // Reporting a failed write would panic once the reader of standard error is gone.
        .log_internal_errors(false)
        .with_env_filter(filter_or(filter))
        .init();
}

/// The filter that RUST_LOG sets, or else `filter`.
pub fn filter_or(filter: &str) -> EnvFilter {
    EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(filter))
}

/// Whether standard error is a terminal, and NO_COLOR (see no-color.org) is not set.
pub fn shows_colors() -> bool {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    std::io::stderr().is_terminal() && !no_color
}
