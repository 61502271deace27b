use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Writes the log to standard error. The filter is `RUST_LOG`, or `default_filter` if `RUST_LOG` is not set.
#[allow(dead_code, reason = "the example `observe` installs its own subscriber")]
pub fn init(default_filter: &str) {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(shows_colors())
        // Otherwise, a failed write is reported to standard error, and the report panics if standard error is closed.
        .log_internal_errors(false)
        .with_env_filter(filter_or(default_filter))
        .init();
}

/// Returns the filter of `RUST_LOG`, or `default` if it is unset or invalid.
pub fn filter_or(default: &str) -> EnvFilter {
    EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default))
}

/// Returns `true` if standard error is a terminal and `NO_COLOR` is not set (see no-color.org).
pub fn shows_colors() -> bool {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    std::io::stderr().is_terminal() && !no_color
}
