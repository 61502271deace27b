//! Clients that send events, and do as they are told when there are too many.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

/// Requests at the same time.
const CONCURRENT: usize = 64;

/// Sends so many events, every fourth one waiting for its delivery, and returns those that were
/// acknowledged: all of them.
pub async fn run(server: SocketAddr, events: usize) -> anyhow::Result<Vec<Bytes>> {
    let sent = stream::iter(0..events).map(|number| send(server, number));
    let sent: Vec<_> = sent.buffer_unordered(CONCURRENT).try_collect().await?;
    let put_off: usize = sent.iter().map(|(_, put_off)| put_off).sum();
    println!("{events} events acknowledged; {put_off} times a client was told to come back later");
    Ok(sent.into_iter().map(|(event, _)| event).collect())
}

/// Sends an event until it is taken, and tells how often it was put off.
async fn send(server: SocketAddr, number: usize) -> anyhow::Result<(Bytes, usize)> {
    let event = format!(r#"{{"event":{number},"text":"hello"}}"#);
    let (query, expected) = if number.is_multiple_of(4) { ("?wait", "201") } else { ("", "202") };
    let path = format!("/events/client-{}{query}", number % 100);
    for put_off in 0.. {
        let answer = post(server, &path, &event).await.context("the server does not answer")?;
        let status = answer.split(' ').nth(1).unwrap_or_default();
        match status {
            "503" => sleep(retry_after(&answer).context("no Retry-After")?).await,
            _ if status == expected => return Ok((Bytes::from(event), put_off)),
            _ => anyhow::bail!("the answer to an event was {status}"),
        }
    }
    unreachable!("it goes on until there is an answer")
}

fn retry_after(answer: &str) -> Option<Duration> {
    let value = answer.lines().find_map(|line| line.strip_prefix("retry-after: "))?;
    value.parse().ok().map(Duration::from_secs)
}

/// One request on a connection of its own; the whole answer.
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
