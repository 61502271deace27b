//! Listens to everything that is logged, at TRACE, of every target.
//!
//! There is one subscriber for the whole process, see `tests/support/logs.rs`.

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

/// What was logged on this thread, which has a test of its own.
#[derive(Default)]
struct Heard {
    /// Of this crate, in full.
    ours: Vec<String>,
    /// Which secrets the others showed, by target.
    shown: BTreeMap<String, BTreeSet<&'static str>>,
}

thread_local! {
    static HEARD: RefCell<Heard> = RefCell::default();
}

/// From now on everything is heard.
pub fn listen() {
    static SUBSCRIBER: Once = Once::new();
    SUBSCRIBER.call_once(|| tracing_subscriber::registry().with(Ear).init());
}

/// What this crate has logged so far.
pub fn ours() -> Vec<String> {
    HEARD.with_borrow(|heard| heard.ours.clone())
}

/// That this crate has logged something and no secret, and that the others kept to what is known of them.
#[track_caller]
pub fn assert_unmarked() {
    assert_unmarked_but(&[]);
}

/// The same where answers quote what was sent: those who show answers show that.
#[track_caller]
pub fn assert_unmarked_but_for_answers() {
    assert_unmarked_but(&[ORCHESTRATOR, "aws_smithy_runtime::client::orchestrator::http"]);
}

#[track_caller]
fn assert_unmarked_but(quoting: &[&str]) {
    let ours = ours();
    assert!(!ours.is_empty(), "nothing was heard");
    ours.iter().for_each(|line| secrets::assert_unmarked("a log", line));
    let shown = HEARD.with_borrow(|heard| heard.shown.clone());
    for (target, secrets) in shown.into_iter().filter(|(target, _)| !quoting.contains(&&**target)) {
        let is_known = THEIRS.contains(&&*target) && secrets.iter().eq(["an access key id"].iter());
        assert!(is_known, "{target} shows {secrets:?}: filter it, and say so in SECURITY.md");
    }
}

const ORCHESTRATOR: &str = "aws_smithy_runtime::client::orchestrator";

/// Those of the SDK that show the access key id at TRACE or DEBUG. SECURITY.md says what to filter.
const THEIRS: [&str; 3] = [
    "aws_sigv4::http_request::sign",
    ORCHESTRATOR,
    "aws_smithy_runtime::client::orchestrator::auth",
];

struct Ear;

impl<S: Subscriber + for<'lookup> LookupSpan<'lookup>> Layer<S> for Ear {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        note(attributes.metadata(), |text| attributes.record(text));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(metadata) = context.metadata(id) {
            note(metadata, |text| values.record(text));
        }
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        note(event.metadata(), |text| event.record(text));
    }
}

fn note(metadata: &Metadata<'_>, write: impl FnOnce(&mut Text)) {
    let mut text = Text(metadata.name().to_owned());
    write(&mut text);
    let target = metadata.target();
    let shown = found_in(&text.0);
    HEARD.with_borrow_mut(|heard| {
        if target == "kinesis_sink" || target.starts_with("kinesis_sink::") {
            heard.ours.push(text.0);
            return;
        }
        if !shown.is_empty() {
            heard.shown.entry(target.to_owned()).or_default().extend(shown);
        }
    });
}

/// Fields as they are told to those who write logs.
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        write!(self.0, " {}={value}", field.name()).unwrap();
    }
}
