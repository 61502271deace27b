//! Captures the log lines of a thread.
//!
//! The process has one subscriber, which filters by thread. A subscriber per thread would miss events, because tracing
//! caches a callsite as disabled if it is first reached by a thread without a subscriber.

use std::cell::RefCell;
use std::io;
use std::sync::Once;

use tracing::Level;
use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::prelude::*;

thread_local! {
    static CAPTURED: RefCell<Option<(Level, Vec<u8>)>> = const { RefCell::new(None) };
}

/// Guard that captures the events of this crate and of the test on the current thread until it is dropped.
pub struct Logs(());

impl Logs {
    pub fn listen(level: Level) -> Self {
        static SUBSCRIBER: Once = Once::new();
        SUBSCRIBER.call_once(|| {
            let filter = dynamic_filter_fn(|metadata, _| {
                let level = CAPTURED.with_borrow(|state| state.as_ref().map(|(level, _)| *level));
                let target = metadata.target().split("::").next();
                (target == Some("kinesis_sink") || target == Some(env!("CARGO_CRATE_NAME")))
                    && level.is_some_and(|level| *metadata.level() <= level)
            });
            let layer =
                tracing_subscriber::fmt::layer().with_writer(|| ThreadWriter).with_ansi(false);
            tracing_subscriber::registry().with(layer.with_filter(filter)).init();
        });
        CAPTURED.set(Some((level, Vec::new())));
        // Another thread can have cached a callsite as disabled while the subscriber was being installed.
        tracing::callsite::rebuild_interest_cache();
        Self(())
    }

    pub fn lines(&self) -> Vec<String> {
        let text = CAPTURED.with_borrow(|state| state.as_ref().unwrap().1.clone());
        String::from_utf8(text).unwrap().lines().map(str::to_owned).collect()
    }

    pub fn with(&self, text: &str) -> Vec<String> {
        self.lines().into_iter().filter(|line| line.contains(text)).collect()
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        CAPTURED.set(None);
    }
}

struct ThreadWriter;

impl io::Write for ThreadWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        CAPTURED.with_borrow_mut(|state| {
            if let Some((_, text)) = state {
                text.extend_from_slice(bytes);
            }
        });
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
