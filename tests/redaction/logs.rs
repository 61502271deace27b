//! Collects the log output of all targets at level TRACE. `tests/support/logs.rs` explains the single subscriber.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Write};
use std::sync::Once;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::prelude::*;
use tracing_subscriber::registry::LookupSpan;

use super::secrets::{self, found_in};

/// Log output of the current thread, which runs only one test.
#[derive(Default)]
struct Log {
    ours: Vec<String>,
    /// Secrets in the log output of other crates, by target.
    shown: BTreeMap<String, BTreeSet<&'static str>>,
}

thread_local! {
    static LOG: RefCell<Log> = RefCell::default();
}

pub fn listen() {
    static SUBSCRIBER: Once = Once::new();
    SUBSCRIBER.call_once(|| tracing_subscriber::registry().with(Recorder).init());
}

pub fn ours() -> Vec<String> {
    LOG.with_borrow(|log| log.ours.clone())
}

/// Asserts that this crate has logged something but no secret, and that other crates have logged only known secrets.
#[track_caller]
pub fn assert_redacted() {
    assert_redacted_except(&[]);
}

/// Asserts the same as [`assert_redacted`], but allows two targets of the SDK to log whole responses.
#[track_caller]
pub fn assert_redacted_except_responses() {
    assert_redacted_except(&[ORCHESTRATOR, "aws_smithy_runtime::client::orchestrator::http"]);
}

#[track_caller]
fn assert_redacted_except(quoting: &[&str]) {
    let ours = ours();
    assert!(!ours.is_empty(), "nothing was logged");
    for line in &ours {
        secrets::assert_redacted("a log", line);
    }
    let shown = LOG.with_borrow(|log| log.shown.clone());
    for (target, secrets) in shown.into_iter().filter(|(target, _)| !quoting.contains(&&**target)) {
        let is_known =
            KNOWN_TARGETS.contains(&&*target) && secrets.iter().eq(["an access key id"].iter());
        assert!(is_known, "{target} shows {secrets:?}: filter it, and say so in SECURITY.md");
    }
}

const ORCHESTRATOR: &str = "aws_smithy_runtime::client::orchestrator";

/// Targets of the SDK that log the access key ID at TRACE or DEBUG. SECURITY.md lists the targets to filter.
const KNOWN_TARGETS: [&str; 3] = [
    "aws_sigv4::http_request::sign",
    ORCHESTRATOR,
    "aws_smithy_runtime::client::orchestrator::auth",
];

struct Recorder;

impl<S: Subscriber + for<'lookup> LookupSpan<'lookup>> Layer<S> for Recorder {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        append(attributes.metadata(), |text| attributes.record(text));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(metadata) = context.metadata(id) {
            append(metadata, |text| values.record(text));
        }
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        append(event.metadata(), |text| event.record(text));
    }
}

fn append(metadata: &Metadata<'_>, write: impl FnOnce(&mut Text)) {
    let mut text = Text(metadata.name().to_owned());
    write(&mut text);
    let target = metadata.target();
    let shown = found_in(&text.0);
    LOG.with_borrow_mut(|log| {
        if target == "kinesis_sink" || target.starts_with("kinesis_sink::") {
            log.ours.push(text.0);
            return;
        }
        if !shown.is_empty() {
            log.shown.entry(target.to_owned()).or_default().extend(shown);
        }
    });
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        write!(self.0, " {}={value}", field.name()).unwrap();
    }
}
