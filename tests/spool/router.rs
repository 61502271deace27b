//! Tests of routers whose streams have spools.

use std::time::Duration;

use kinesis_sink::router::RouterSettings;
use kinesis_sink::spool::Spool;
use kinesis_sink::{Record, Router};

use crate::fixtures::{Directory, soon};
use crate::support::mock_service::{MockService, all_delivered, service_error};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_stream_of_router_has_spool() {
    let directory = Directory::new();
    let spool = Spool::at(directory.path().join("{stream}")).with_segment_bytes(256 << 10);
    let router = |service: &MockService| {
        let spool = spool.clone();
        let configure = move |_: &_, builder: kinesis_sink::SinkBuilder| {
            builder.with_spool(spool.clone()).configure(|settings| {
                settings.backoff.base = Duration::from_millis(5);
                settings.backoff.ceiling = Duration::from_millis(5);
            })
        };
        Router::builder().configure_stream(configure).spawn_with(service.clone()).unwrap()
    };
    let failing = MockService::new(|_, _| Err(service_error("InternalFailure")));
    let first = router(&failing);
    for number in 0..50 {
        first.send_to("clicks", Record::from(format!("click {number}"))).await.unwrap();
        first.send_to("orders", Record::from(format!("order {number}"))).await.unwrap();
    }
    soon(first.close_within(Duration::ZERO)).await.unwrap();
    drop(first);
    assert!(directory.path().join("clicks").is_dir() && directory.path().join("orders").is_dir());

    let delivering = MockService::delivering().with_round_trip(Duration::from_millis(2));
    let second = router(&delivering);
    // A stream is opened on first use, and then sends what its spool contains.
    second.send_to("clicks", Record::from("click")).await.unwrap();
    second.send_to("orders", Record::from("order")).await.unwrap();
    soon(second.close()).await.unwrap();
    assert_eq!(delivering.delivered().len(), 102);
}

#[tokio::test(flavor = "current_thread")]
async fn evicted_stream_can_be_opened_again() {
    let directory = Directory::new();
    let mut settings = RouterSettings::default();
    settings.max_streams = 1;
    settings.defaults.spool = Some(Spool::at(directory.path().join("{stream}")));
    let service = MockService::new(|_, request| Ok(all_delivered(request)))
        .with_round_trip(Duration::from_millis(1));
    let router = Router::builder().with_settings(settings).spawn_with(service.clone()).unwrap();
    for number in 0..10 {
        for stream in ["clicks", "orders"] {
            // Waits until the other stream is idle, which includes its spool.
            let record = Record::from(format!("{stream} {number}"));
            soon(router.send_to(stream, record)).await.unwrap();
        }
    }
    soon(router.close()).await.unwrap();
    let mut delivered = service.delivered();
    delivered.sort();
    delivered.dedup();
    assert_eq!(delivered.len(), 20);
}
