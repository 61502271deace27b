//! Defects that the model has found, each in a small scenario.

use futures::SinkExt;
use kinesis_sink::budget::{Budget, BudgetSettings};
use kinesis_sink::router::{RouterBuilder, RouterSettings};
use kinesis_sink::settings::FatalPolicy;
use kinesis_sink::sim::{SimRegion, SimStream};
use kinesis_sink::{ErrorKind, Record, Router, StreamId};
use tokio::time::timeout;

use super::ms;

fn region() -> SimRegion {
    let region = SimRegion::new();
    let stream = SimStream::builder().with_name("clicks").with_seed(1).build();
    region.add(stream.expect("the settings are valid"));
    region
}

fn configured(change: impl FnOnce(&mut RouterSettings)) -> RouterBuilder {
    let mut settings = RouterSettings::default();
    settings.defaults.seed = Some(1);
    change(&mut settings);
    Router::builder().with_settings(settings)
}

fn id(stream: &str) -> StreamId {
    stream.parse().expect("the name is valid")
}

/// A sink that waits while it exceeds the bounds has no use for capacity, so it must not keep any while it is not polled.
#[tokio::test(start_paused = true)]
async fn dropped_feed_keeps_no_capacity() {
    let builder = configured(|settings| settings.defaults.buffer_records = Some(1));
    let router = builder.spawn_with(region().service()).unwrap();
    let mut sink = router.sink();
    let mut feed = async |data: &'static str| {
        timeout(ms(1), sink.feed((id("clicks"), Record::from(data)))).await
    };
    feed("0").await.unwrap().unwrap();
    feed("exceeds the bound").await.unwrap().unwrap();
    feed("waits").await.unwrap_err();
    let sent = timeout(ms(60_000), router.send_to("clicks", Record::from("1"))).await;
    sent.expect("the sink holds the capacity").unwrap();
    router.close().await.unwrap();
}

/// A refused stream keeps its records, so a sink that has exceeded the bounds still exceeds them.
#[tokio::test(start_paused = true)]
async fn sink_exceeds_budget_by_one_refused_record() {
    let mut settings = BudgetSettings::default();
    settings.buffer_records = 1;
    let budget = Budget::new(settings).unwrap();
    let builder = configured(|settings| settings.defaults.fatal_policy = FatalPolicy::Retry);
    let router = builder.with_budget(&budget).spawn_with(region().service()).unwrap();
    let mut sink = router.sink();
    for missing in ["orders", "visits", "payments", "audit"] {
        // Waits for capacity, because the records of the missing streams are not delivered.
        let _ = timeout(ms(5_000), sink.feed((id(missing), Record::from("data")))).await;
        assert!(budget.buffered().records <= 2, "{:?}", budget.buffered());
    }
}

#[tokio::test(start_paused = true)]
async fn error_of_waiting_call_has_stream() {
    let builder = configured(|settings| settings.max_streams = 1);
    let router = builder.spawn_with(region().service()).unwrap();
    let _clicks = router.producer("clicks").unwrap();
    let waiting = router.send_to("orders", Record::from("data"));
    let close = async {
        tokio::task::yield_now().await;
        router.close().await
    };
    let (sent, closed) = futures::future::join(waiting, close).await;
    closed.unwrap();
    let error = sent.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert_eq!(error.stream(), Some(&id("orders")), "{error}");
}
