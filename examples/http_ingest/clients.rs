//! HTTP clients that send events and honor `Retry-After`.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

const CONCURRENT_REQUESTS: usize = 64;

/// Sends `events` events until the server has acknowledged all of them, and returns the events.
pub async fn run(server: SocketAddr, events: usize) -> anyhow::Result<Vec<Bytes>> {
    let sent = stream::iter(0..events).map(|number| send(server, number));
    let sent: Vec<_> = sent.buffer_unordered(CONCURRENT_REQUESTS).try_collect().await?;
    let retries: usize = sent.iter().map(|(_, retries)| retries).sum();
    println!("{events} events acknowledged; {retries} requests were retried after Retry-After");
    Ok(sent.into_iter().map(|(event, _)| event).collect())
}

/// Sends an event, and returns the event and the number of retries. Every fourth event waits for its delivery.
async fn send(server: SocketAddr, number: usize) -> anyhow::Result<(Bytes, usize)> {
    let event = format!(r#"{{"event":{number},"text":"hello"}}"#);
    let (query, expected) = if number.is_multiple_of(4) { ("?wait", "201") } else { ("", "202") };
    let path = format!("/events/client-{}{query}", number % 100);
    for retries in 0.. {
        let answer = post(server, &path, &event).await.context("no response from the server")?;
        let status = answer.split(' ').nth(1).unwrap_or_default();
        match status {
            "503" => sleep(retry_after(&answer).context("503 without Retry-After")?).await,
            _ if status == expected => return Ok((Bytes::from(event), retries)),
            _ => anyhow::bail!("unexpected response to an event: {status}"),
        }
    }
    unreachable!("the range of retries is unbounded")
}

fn retry_after(answer: &str) -> Option<Duration> {
    let value = answer.lines().find_map(|line| line.strip_prefix("retry-after: "))?;
    value.parse().ok().map(Duration::from_secs)
}

async fn post(server: SocketAddr, path: &str, body: &str) -> std::io::Result<String> {
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: {server}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    let mut connection = TcpStream::connect(server).await?;
    connection.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await?;
    Ok(answer)
}
