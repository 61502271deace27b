//! Tests that the example `socket` sends lines as records, and that it applies backpressure while the stream is slow.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use futures::future;
use kinesis_sink::service::{PutRecordsRequest, PutRecordsResponse};
use kinesis_sink::sim::SimStream;
use kinesis_sink::{KinesisSink, Producer};
use tokio::io::{AsyncWriteExt, duplex};
use tokio::time::timeout;
use tower::{BoxError, Service, service_fn};

use super::connection::{MAX_LINE_BYTES, forward};
use super::server_process::{ServerProcess, blocking};
use crate::support::embedded::Embedded;

const HOUR: Duration = Duration::from_secs(3_600);
const BUFFER: usize = 10;

fn producer<S>(service: S) -> Producer
where
    S: Service<PutRecordsRequest, Response = PutRecordsResponse, Error: Into<BoxError>>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
{
    let builder = KinesisSink::builder("example").configure(|settings| {
        settings.buffer_records = Some(BUFFER);
        settings.seed = Some(1);
    });
    builder.build_with(service).unwrap().spawn()
}

#[tokio::test(start_paused = true)]
async fn backpressure_reaches_sender() {
    let no_response = |_| future::pending::<Result<PutRecordsResponse, BoxError>>();
    let producer = producer(service_fn(no_response));
    let (mut sender, input) = duplex(1_024);
    let forwarding = tokio::spawn(forward(input, producer.clone()));
    let mut sent = 0;
    while timeout(HOUR, sender.write_all(b"a line of twenty..\n")).await.is_ok() {
        sent += 1;
        assert!(sent < 1_000, "the sender gets no backpressure");
    }
    assert_eq!(producer.status().totals.accepted, BUFFER as u64);
    forwarding.abort();
}

#[tokio::test(start_paused = true)]
async fn forward_returns_after_delivery() {
    let stream = SimStream::builder().with_shards(1).with_seed(1).build().unwrap();
    let (mut sender, input) = duplex(1_024);
    let forwarding = tokio::spawn(forward(input, producer(stream.service())));
    for number in 0..3_000 {
        sender.write_all(format!("{number}\r\n").as_bytes()).await.unwrap();
    }
    drop(sender);
    assert_eq!(forwarding.await.unwrap().unwrap(), 3_000);
    let mut written: Vec<u32> = Vec::new();
    for record in stream.written() {
        written.push(std::str::from_utf8(record.data()).unwrap().parse().unwrap());
    }
    written.sort_unstable();
    assert!(written.into_iter().eq(0..3_000));
}

#[tokio::test(start_paused = true)]
async fn oversize_line_closes_its_connection() {
    let stream = SimStream::builder().with_shards(1).with_seed(1).build().unwrap();
    let producer = producer(stream.service());
    let long = format!("one\ntwo\n{}\nfour\n", "x".repeat(MAX_LINE_BYTES + 1));
    let refused = forward(long.as_bytes(), producer.clone()).await.unwrap_err();
    assert_eq!(format!("{refused:#}"), "stopped after 2 lines: max line length exceeded");
    assert_eq!(stream.written().len(), 2, "the lines before it are delivered");
    assert_eq!(forward(&b"five\nsix"[..], producer.clone()).await.unwrap(), 2);
    assert_eq!(stream.written().len(), 4);
    producer.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_drains_and_closes_connections() {
    let kinesis = Embedded::start(1, false).await.unwrap();
    let (done, open, last) = blocking(move || {
        let process = ServerProcess::start("socket", &[], &kinesis);
        let connect = || TcpStream::connect(process.address).unwrap();
        let response = |mut connection: TcpStream| {
            let mut response = String::new();
            connection.read_to_string(&mut response).unwrap();
            response
        };
        let mut one = connect();
        let mut other = connect();
        other.write_all(b"not the last\n").unwrap();
        one.write_all(b"one\ntwo\n").unwrap();
        one.shutdown(Shutdown::Write).unwrap();
        let done = response(one);
        process.interrupt();
        (done, response(other), process.wait())
    })
    .await;
    assert_eq!(done, "2 lines delivered\n");
    assert_eq!(open, "error: no more lines are accepted\n");
    assert!(last.contains(" lines delivered in "), "{last}");
}
