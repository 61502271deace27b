//! Keeps what is logged on this thread, as lines of text.
//!
//! There is one subscriber for the whole process, which asks each thread what it listens to: one per
//! thread would miss events, because a place in the code that is first passed on a thread without a
//! subscriber counts as switched off.

use std::cell::RefCell;
use std::io;
use std::sync::Once;

use tracing::Level;
use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::prelude::*;

thread_local! {
    static LISTENING: RefCell<Option<(Level, Vec<u8>)>> = const { RefCell::new(None) };
}

/// Listens to what this crate and the test log on this thread, until it is dropped.
pub struct Logs(());

impl Logs {
    pub fn listen(level: Level) -> Self {
        static SUBSCRIBER: Once = Once::new();
        SUBSCRIBER.call_once(|| {
            let wanted = dynamic_filter_fn(|metadata, _| {
                let level = LISTENING.with_borrow(|state| state.as_ref().map(|(level, _)| *level));
                let target = metadata.target().split("::").next();
                (target == Some("kinesis_sink") || target == Some(env!("CARGO_CRATE_NAME")))
                    && level.is_some_and(|level| *metadata.level() <= level)
            });
            let layer = tracing_subscriber::fmt::layer().with_writer(|| Thread).with_ansi(false);
            tracing_subscriber::registry().with(layer.with_filter(wanted)).init();
        });
        LISTENING.set(Some((level, Vec::new())));
        Self(())
    }

    pub fn lines(&self) -> Vec<String> {
        let text = LISTENING.with_borrow(|state| state.as_ref().unwrap().1.clone());
        String::from_utf8(text).unwrap().lines().map(str::to_owned).collect()
    }

    /// The lines that hold `text`.
    pub fn with(&self, text: &str) -> Vec<String> {
        self.lines().into_iter().filter(|line| line.contains(text)).collect()
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        LISTENING.set(None);
    }
}

/// Writes to this thread's listener.
struct Thread;

impl io::Write for Thread {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LISTENING.with_borrow_mut(|state| {
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
