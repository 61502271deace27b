//! The example `http_ingest`: what its clients are told.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::gated_server::Held;
use super::server_process::{Served, blocking, send};
use crate::support::embedded::Embedded;

fn request(server: SocketAddr, line: &str, body: &[u8]) -> TcpStream {
    let mut connection = TcpStream::connect(server).unwrap();
    let length = body.len();
    let head = format!(
        "{line} HTTP/1.1\r\nhost: {server}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    connection.write_all(head.as_bytes()).unwrap();
    // It may be refused before it is read.
    connection.write_all(body).ok();
    connection
}

fn answer(mut connection: TcpStream) -> String {
    let mut answer = Vec::new();
    // Bytes of the request that were not read can end the connection early, behind the answer.
    connection.read_to_end(&mut answer).ok();
    String::from_utf8(answer).unwrap()
}

fn asked(server: SocketAddr, line: &str, body: &[u8]) -> String {
    answer(request(server, line, body))
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect(answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_report_outcome_of_events() {
    let kinesis = Embedded::start(2, false).await.unwrap();
    let last = blocking(move || {
        let served = Served::start("http_ingest", &[], &kinesis);
        let ask = |line: &str, body: &[u8]| asked(served.address, line, body);
        assert_eq!(status(&ask("POST /events/device-7", b"hello")), 202);
        let delivered = ask("POST /events/device-7?wait", b"hello");
        assert_eq!(status(&delivered), 201);
        assert!(delivered.contains(r#""shard":"shardId-"#), "{delivered}");
        assert!(delivered.contains(r#""sequence_number":""#), "{delivered}");
        assert_eq!(status(&ask("POST /events/device-7", &vec![b'.'; (1 << 20) + 1])), 413);
        // With its key it is too large.
        assert_eq!(status(&ask("POST /events/device-7", &vec![b'.'; 1 << 20])), 413);
        let long_key = format!("POST /events/{}", "k".repeat(257));
        assert_eq!(status(&ask(&long_key, b"hello")), 400);
        let health = ask("GET /health", b"");
        assert_eq!(status(&health), 200);
        assert!(health.contains(r#""accepted":2,"delivered":"#), "{health}");
        served.interrupt();
        served.ended()
    });
    let last = last.await;
    assert!(last.starts_with("2 events accepted, 2 delivered in "), "{last}");
    assert!(last.ends_with(" requests, 0 failed"), "{last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn full_buffer_returns_503_and_drains() {
    let kinesis = Held::start().await;
    let last = blocking(move || {
        let served = Served::start("http_ingest", &["--buffer", "3"], &kinesis.server);
        let waiting = request(served.address, "POST /events/first?wait", b"waiting");
        for _ in 0..2 {
            assert_eq!(status(&asked(served.address, "POST /events/key", b"accepted")), 202);
        }
        let refused = loop {
            let answer = asked(served.address, "POST /events/key", b"accepted");
            // The one that waits may come last.
            if status(&answer) != 202 {
                break answer;
            }
        };
        assert_eq!(status(&refused), 503);
        assert!(refused.contains("\r\nretry-after: 1\r\n"), "{refused}");
        let health = asked(served.address, "GET /health", b"");
        assert_eq!(status(&health), 503, "no event is accepted: {health}");
        served.interrupt();
        kinesis.release();
        let told = status(&answer(waiting));
        (told, served.ended())
    });
    let (waited, last) = last.await;
    assert!(last.starts_with("3 events accepted, 3 delivered in "), "{last}");
    assert!(waited == 201 || waited == 503, "{waited}");
}

#[tokio::test(flavor = "multi_thread")]
async fn grace_period_bounds_shutdown() {
    let kinesis = Held::start().await;
    blocking(move || {
        let mut served = Served::start(
            "http_ingest",
            &["--buffer", "1", "--grace-period", "1"],
            &kinesis.server,
        );
        let waiting = request(served.address, "POST /events/first?wait", b"waiting");
        while !asked(served.address, "GET /health", b"").contains(r#""accepted":1"#) {}
        send(&served.process, "-TERM");
        assert_eq!(status(&answer(waiting)), 502);
        assert_eq!(served.process.wait().unwrap().code(), Some(1));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_drains_accepted_events() {
    let kinesis = Held::start().await;
    let last = blocking(move || {
        let served = Served::start("http_ingest", &[], &kinesis.server);
        for _ in 0..3 {
            assert_eq!(status(&asked(served.address, "POST /events/key", b"accepted")), 202);
        }
        send(&served.process, "-TERM");
        while TcpStream::connect(served.address).is_ok() {}
        kinesis.release();
        served.ended()
    })
    .await;
    assert!(last.starts_with("3 events accepted, 3 delivered in "), "{last}");
}
