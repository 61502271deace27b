//! Tests that no secret is exposed when records and credentials pass through the SDK and through each kind of failure.

use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::Credentials;
use futures::{SinkExt, stream};
use kinesis_sink::service::{PutRecords, ServiceBuilderExt};
use kinesis_sink::sim::{Faults, SimStream};
use kinesis_sink::{Aggregation, KinesisSink, Record, RecordOrdering, Undelivered};
use tower::ServiceBuilder;

use super::{logs, secrets};

pub fn credentials() -> Credentials {
    let token = Some(secrets::TOKEN.to_owned());
    Credentials::new(secrets::ACCESS_KEY_ID, secrets::SECRET, token, None, "marked")
}

pub fn with_credentials(client: &Client) -> Client {
    let config = client.config().to_builder().credentials_provider(credentials());
    Client::from_conf(config.build())
}

fn stream_with(faults: Faults) -> SimStream {
    SimStream::builder().with_shards(2).with_seed(7).with_faults(faults).build().unwrap()
}

fn records(count: usize) -> impl futures::Stream<Item = Result<Record, kinesis_sink::Error>> {
    stream::iter((0..count).map(|_| Ok(secrets::record())))
}

fn assert_undelivered_redacted(undelivered: &Undelivered) {
    assert_eq!(undelivered.record(), &secrets::record(), "the record is returned");
    secrets::assert_error_redacted(undelivered);
    secrets::assert_display_redacted(undelivered.reason());
    secrets::assert_debug_redacted(undelivered.reason());
    for attempt in undelivered.history() {
        secrets::assert_debug_redacted(attempt);
    }
}

#[tokio::test(start_paused = true)]
async fn faults_reveal_no_secret() {
    logs::listen();
    let faults = Faults::default()
        .with_throttles(0.1)
        .with_internal_failures(0.1)
        .with_request_errors(0.1, "KMSThrottlingException", 400)
        .with_request_errors(0.1, "ServiceUnavailable", 503)
        .with_lost_requests(0.1)
        .with_lost_answers(0.1);
    let client = with_credentials(&stream_with(faults).client());
    for (builder, count) in [
        (KinesisSink::builder("example"), 1_000),
        (KinesisSink::builder("example").with_ordering(RecordOrdering::PerKey), 20),
        (KinesisSink::builder("example").with_aggregation(Aggregation::PerShard), 1_000),
    ] {
        let builder = builder.configure(|settings| {
            settings.request_timeout = Duration::from_millis(500);
            settings.seed = Some(7);
        });
        let mut sink = builder.build(&client).unwrap();
        sink.send_all(&mut records(count)).await.unwrap();
        secrets::assert_debug_redacted(&sink);
        secrets::assert_debug_redacted(&(sink.totals(), sink.status().last_request));
    }
    logs::assert_redacted();
}

#[tokio::test(start_paused = true)]
async fn sdk_serialization_reveals_no_secret() {
    logs::listen();
    let client = with_credentials(&stream_with(Faults::default()).client());
    let services = [
        PutRecords::new(&client).with_sdk_serialization(),
        PutRecords::new(&client).with_cbor(),
        PutRecords::new(&client).with_cbor().with_sdk_serialization(),
    ];
    for service in services {
        secrets::assert_debug_redacted(&service);
        let stack = ServiceBuilder::new().trace_put_records().service(service);
        let mut sink = KinesisSink::builder("example").build_with(stack).unwrap();
        sink.send_all(&mut records(10)).await.unwrap();
    }
    logs::assert_redacted();
}

#[tokio::test(start_paused = true)]
async fn undelivered_records_reveal_no_secret() {
    logs::listen();
    let outage = Faults::default().with_outage("ServiceUnavailable", 503);
    let client = with_credentials(&stream_with(outage).client());
    let (letters, mut dead) = tokio::sync::mpsc::unbounded_channel();
    let builders = [
        KinesisSink::builder("example").with_deadline(Duration::from_secs(5)),
        KinesisSink::builder("example").configure(|settings| settings.max_attempts = Some(2)),
        KinesisSink::builder("example")
            .configure(|settings| settings.max_attempts = Some(2))
            .with_dead_letters(move |letter: Undelivered| letters.send(letter).unwrap()),
    ];
    for builder in builders {
        secrets::assert_debug_redacted(&builder);
        let mut sink = builder.build(&client).unwrap();
        let (record, receipt) = secrets::record().tracked();
        sink.feed(record).await.unwrap();
        sink.feed(secrets::record()).await.unwrap();
        if let Err(error) = sink.flush().await {
            secrets::assert_error_redacted(&error);
        }
        assert_undelivered_redacted(&receipt.await.unwrap_err());
        for failed in &sink.take_failed() {
            assert_undelivered_redacted(failed);
        }
        let (record, receipt) = secrets::record().tracked();
        sink.feed(record).await.unwrap();
        for undelivered in &sink.take_undelivered() {
            assert_undelivered_redacted(undelivered);
        }
        assert_undelivered_redacted(&receipt.await.unwrap_err());
        sink.feed(secrets::record()).await.unwrap();
        // Dropping the sink logs a warning with the number of undelivered records.
        drop(sink);
    }
    assert_undelivered_redacted(&dead.recv().await.expect("a dead letter"));
    assert!(logs::ours().iter().any(|line| line.contains("dropped with 1 record undelivered")));
    logs::assert_redacted();
}

#[tokio::test(start_paused = true)]
async fn producer_shutdown_reveals_no_secret() {
    logs::listen();
    let denied = Faults::default().with_outage("AccessDeniedException", 400);
    let client = with_credentials(&stream_with(denied).client());
    let producer = KinesisSink::new(&client, "example").unwrap().spawn();
    let receipt = producer.put(secrets::record()).await.unwrap();
    secrets::assert_debug_redacted(&(&producer, &receipt));
    assert_undelivered_redacted(&receipt.await.unwrap_err());
    let refused = producer.put(secrets::record()).await.unwrap_err();
    secrets::assert_error_redacted(&refused);
    secrets::assert_error_redacted(&producer.flush().await.unwrap_err());
    secrets::assert_error_redacted(&producer.close().await.unwrap_err());

    let outage = Faults::default().with_outage("ServiceUnavailable", 503);
    let client = with_credentials(&stream_with(outage).client());
    let (producer, driver) = KinesisSink::new(&client, "example").unwrap().into_producer();
    secrets::assert_debug_redacted(&driver);
    let driver = tokio::spawn(driver);
    producer.send(secrets::record()).await.unwrap();
    let closed = producer.close_within(Duration::from_secs(2)).await.unwrap_err();
    secrets::assert_error_redacted(&closed);
    for undelivered in closed.undelivered() {
        assert_undelivered_redacted(undelivered);
    }
    driver.await.unwrap();
    logs::assert_redacted();
}

/// Uses real connections to check the logs of hyper and of the server as well.
#[cfg(feature = "aws-config")]
#[tokio::test]
async fn http_connection_reveals_no_secret() {
    logs::listen();
    let server = crate::support::embedded::Embedded::start(2, false).await.unwrap();
    let client = with_credentials(server.client());
    let mut sink = KinesisSink::new(&client, crate::support::embedded::STREAM).unwrap();
    sink.send_all(&mut records(100)).await.unwrap();
    let mut nowhere =
        KinesisSink::builder("example").configure(|settings| settings.max_attempts = Some(2));
    nowhere = nowhere.configure(|settings| {
        settings.backoff.base = Duration::from_millis(1);
        settings.backoff.ceiling = Duration::from_millis(1);
    });
    let config = client.config().to_builder().endpoint_url("http://127.0.0.1:1");
    let mut sink = nowhere.build(&Client::from_conf(config.build())).unwrap();
    secrets::assert_error_redacted(&sink.send(secrets::record()).await.unwrap_err());
    logs::assert_redacted();
}
