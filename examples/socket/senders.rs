//! Clients that send lines. The last client also sends a line that is too long.

use std::net::SocketAddr;

use anyhow::Context;
use bytes::Bytes;
use futures::future::{join, try_join_all};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::connection::MAX_LINE_BYTES;

const SENDERS: usize = 4;
const VALID_LINES: usize = 10;

/// Sends `lines` lines from each client, and returns the delivered lines.
pub async fn run(server: SocketAddr, lines: usize) -> anyhow::Result<Vec<Bytes>> {
    let good = (0..SENDERS).map(async |sender| {
        let lines: Vec<_> = (0..lines).map(|number| line(sender, number)).collect();
        let answer = send(server, &lines.join("\n")).await?;
        let expected = format!("{} lines delivered\n", lines.len());
        anyhow::ensure!(answer == expected, "unexpected answer to sender {sender}: {answer}");
        Ok(lines)
    });
    let too_long = async {
        let mut lines: Vec<_> = (0..VALID_LINES).map(|number| line(SENDERS, number)).collect();
        lines.push("x".repeat(MAX_LINE_BYTES + 1));
        let answer = send(server, &lines.join("\n")).await?;
        let expected = format!("error: stopped after {VALID_LINES} lines: ");
        anyhow::ensure!(
            answer.starts_with(&expected),
            "unexpected answer to the last sender: {answer}"
        );
        lines.pop();
        anyhow::Ok((lines, answer))
    };
    let (good, too_long) = join(try_join_all(good), too_long).await;
    let good = good?;
    let (before, answer) = too_long?;
    println!("{SENDERS} senders delivered {lines} lines each; the last one received:");
    print!("  {answer}");
    Ok(good.into_iter().flatten().chain(before).map(Bytes::from).collect())
}

fn line(sender: usize, number: usize) -> String {
    format!("line {number} of sender {sender}")
}

async fn send(server: SocketAddr, text: &str) -> anyhow::Result<String> {
    let mut connection =
        TcpStream::connect(server).await.with_context(|| format!("cannot connect to {server}"))?;
    let mut answer = String::new();
    connection.write_all(text.as_bytes()).await?;
    connection.shutdown().await?;
    connection.read_to_string(&mut answer).await?;
    Ok(answer)
}
