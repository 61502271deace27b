//! Tests that panic messages contain no secret, and that this crate does not repeat those of user code.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, Once, PoisonError};
use std::time::Duration;

use futures::{FutureExt, SinkExt, poll};
use kinesis_sink::service::{PutRecordsRequest, PutRecordsResponse};
use kinesis_sink::sim::SimStream;
use kinesis_sink::{KinesisSink, Undelivered};
use tower::{BoxError, service_fn};

use super::{logs, secrets};

static MESSAGES: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn record_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            MESSAGES.lock().unwrap_or_else(PoisonError::into_inner).push(panic.to_string());
            before(panic);
        }));
    });
}

/// Returns the messages of all panics except those raised by the tests themselves.
fn messages() -> Vec<String> {
    let messages = MESSAGES.lock().unwrap_or_else(PoisonError::into_inner).clone();
    messages.into_iter().filter(|message| !message.contains("tests/redaction")).collect()
}

#[tokio::test]
async fn crate_panics_reveal_no_secret() {
    record_panics();
    let stream = SimStream::new(1);
    let mut sink = KinesisSink::builder("example").build_with(stream.service()).unwrap();
    let (record, mut receipt) = secrets::record().tracked();
    sink.send(record).await.unwrap();
    assert!(poll!(&mut receipt).is_ready());
    let polled_again = catch_unwind(AssertUnwindSafe(|| (&mut receipt).now_or_never()));
    assert!(polled_again.is_err(), "a completed receipt panics when polled");
    // `send` panics outside of a runtime.
    let outside = std::thread::spawn(move || {
        catch_unwind(AssertUnwindSafe(|| sink.send(secrets::record()).now_or_never())).is_err()
    });
    assert!(outside.join().unwrap());
    let messages = messages();
    assert!(!messages.is_empty(), "panics are recorded");
    for message in &messages {
        secrets::assert_redacted("a panic", message);
    }
}

#[tokio::test(start_paused = true)]
async fn user_panics_are_not_repeated() {
    record_panics();
    logs::listen();
    let in_call = service_fn(|request: PutRecordsRequest| {
        panic!("{:?}", request.entries()[0].data());
        #[allow(unreachable_code, reason = "states the return type")]
        async {
            Ok::<_, BoxError>(PutRecordsResponse::new(Vec::new()))
        }
    });
    let in_future = service_fn(|request: PutRecordsRequest| async move {
        assert!(request.entries().is_empty(), "{:?}", request.entries()[0].data());
        Ok::<_, BoxError>(PutRecordsResponse::new(Vec::new()))
    });
    let millisecond = Duration::from_millis(1);
    let builder = || {
        KinesisSink::builder("example").configure(|settings| {
            settings.max_attempts = Some(2);
            settings.backoff.base = millisecond;
            settings.backoff.ceiling = millisecond;
        })
    };
    let mut sink = builder().build_with(in_call).unwrap();
    secrets::assert_error_redacted(&sink.send(secrets::record()).await.unwrap_err());
    for failed in &sink.take_failed() {
        secrets::assert_error_redacted(failed);
    }
    let letters = |letter: Undelivered| panic!("{:?}", letter.record().data());
    let mut sink = builder().with_dead_letters(letters).build_with(in_future).unwrap();
    let handled = AssertUnwindSafe(sink.send(secrets::record())).catch_unwind().await;
    assert!(handled.is_err(), "the panic of the handler propagates");
    secrets::assert_debug_redacted(&sink);
    drop(sink);
    for message in &messages() {
        secrets::assert_redacted("a panic", message);
    }
    logs::assert_redacted();
}
