//! Tests of the example `http_ingest`: its responses to clients, and its shutdown.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::gated_server::GatedServer;
use super::server_process::{ServerProcess, blocking, send_signal};
use crate::support::embedded::Embedded;

fn request(server: SocketAddr, line: &str, body: &[u8]) -> TcpStream {
    let mut connection = TcpStream::connect(server).unwrap();
    let length = body.len();
    let head = format!(
        "{line} HTTP/1.1\r\nhost: {server}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    connection.write_all(head.as_bytes()).unwrap();
    // The server can reject the request before it has read the body, so a failed write is ignored.
    connection.write_all(body).ok();
    connection
}

fn read_response(mut connection: TcpStream) -> String {
    let mut response = Vec::new();
    // The connection can be reset after the response if the server has not read the whole request.
    connection.read_to_end(&mut response).ok();
    String::from_utf8(response).unwrap()
}

fn fetch(server: SocketAddr, line: &str, body: &[u8]) -> String {
    read_response(request(server, line, body))
}

fn status(response: &str) -> u16 {
    response.split(' ').nth(1).and_then(|status| status.parse().ok()).expect(response)
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_report_outcome_of_events() {
    let kinesis = Embedded::start(2, false).await.unwrap();
    let last = blocking(move || {
        let process = ServerProcess::start("http_ingest", &[], &kinesis);
        let fetch_from = |line: &str, body: &[u8]| fetch(process.address, line, body);
        assert_eq!(status(&fetch_from("POST /events/device-7", b"hello")), 202);
        let delivered = fetch_from("POST /events/device-7?wait", b"hello");
        assert_eq!(status(&delivered), 201);
        assert!(delivered.contains(r#""shard":"shardId-"#), "{delivered}");
        assert!(delivered.contains(r#""sequence_number":""#), "{delivered}");
        assert_eq!(status(&fetch_from("POST /events/device-7", &vec![b'.'; (1 << 20) + 1])), 413);
        // The record limit includes the key.
        assert_eq!(status(&fetch_from("POST /events/device-7", &vec![b'.'; 1 << 20])), 413);
        let long_key = format!("POST /events/{}", "k".repeat(257));
        assert_eq!(status(&fetch_from(&long_key, b"hello")), 400);
        let health = fetch_from("GET /health", b"");
        assert_eq!(status(&health), 200);
        assert!(health.contains(r#""accepted":2,"delivered":"#), "{health}");
        process.interrupt();
        process.wait()
    });
    let last = last.await;
    assert!(last.starts_with("2 events accepted, 2 delivered in "), "{last}");
    assert!(last.ends_with(" requests, 0 failed"), "{last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn full_buffer_returns_503_and_drains() {
    let kinesis = GatedServer::start().await;
    let last = blocking(move || {
        let process = ServerProcess::start("http_ingest", &["--buffer", "3"], &kinesis.server);
        let waiting = request(process.address, "POST /events/first?wait", b"waiting");
        for _ in 0..2 {
            assert_eq!(status(&fetch(process.address, "POST /events/key", b"accepted")), 202);
        }
        let refused = loop {
            let response = fetch(process.address, "POST /events/key", b"accepted");
            // Another event can be accepted first if the waiting event has not been accepted yet.
            if status(&response) != 202 {
                break response;
            }
        };
        assert_eq!(status(&refused), 503);
        assert!(refused.contains("\r\nretry-after: 1\r\n"), "{refused}");
        let health = fetch(process.address, "GET /health", b"");
        assert_eq!(status(&health), 503, "a full buffer is unhealthy: {health}");
        process.interrupt();
        kinesis.release();
        let waited = status(&read_response(waiting));
        (waited, process.wait())
    });
    let (waited, last) = last.await;
    assert!(last.starts_with("3 events accepted, 3 delivered in "), "{last}");
    assert!(waited == 201 || waited == 503, "{waited}");
}

#[tokio::test(flavor = "multi_thread")]
async fn grace_period_bounds_shutdown() {
    let kinesis = GatedServer::start().await;
    blocking(move || {
        let mut process = ServerProcess::start(
            "http_ingest",
            &["--buffer", "1", "--grace-period", "1"],
            &kinesis.server,
        );
        let waiting = request(process.address, "POST /events/first?wait", b"waiting");
        while !fetch(process.address, "GET /health", b"").contains(r#""accepted":1"#) {}
        send_signal(&process.child, "-TERM");
        assert_eq!(status(&read_response(waiting)), 502);
        assert_eq!(process.child.wait().unwrap().code(), Some(1));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_drains_accepted_events() {
    let kinesis = GatedServer::start().await;
    let last = blocking(move || {
        let process = ServerProcess::start("http_ingest", &[], &kinesis.server);
        for _ in 0..3 {
            assert_eq!(status(&fetch(process.address, "POST /events/key", b"accepted")), 202);
        }
        send_signal(&process.child, "-TERM");
        while TcpStream::connect(process.address).is_ok() {}
        kinesis.release();
        process.wait()
    })
    .await;
    assert!(last.starts_with("3 events accepted, 3 delivered in "), "{last}");
}
