//! Senders of lines, one of which sends a line that is too long.

use std::net::SocketAddr;

use anyhow::Context;
use bytes::Bytes;
use futures::future::{join, try_join_all};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::connection::LONGEST_LINE;

const SENDERS: usize = 4;
/// Of the sender that goes wrong, before it does.
const GOOD_LINES: usize = 10;

/// Sends so many lines from each sender, and returns those that are in the stream.
pub async fn run(server: SocketAddr, lines: usize) -> anyhow::Result<Vec<Bytes>> {
    let good = (0..SENDERS).map(async |sender| {
        let lines: Vec<_> = (0..lines).map(|number| line(sender, number)).collect();
        let answer = send(server, &lines.join("\n")).await?;
        let expected = format!("{} lines delivered\n", lines.len());
        anyhow::ensure!(answer == expected, "sender {sender} was told: {answer}");
        Ok(lines)
    });
    let too_long = async {
        let mut lines: Vec<_> = (0..GOOD_LINES).map(|number| line(SENDERS, number)).collect();
        lines.push("x".repeat(LONGEST_LINE + 1));
        let answer = send(server, &lines.join("\n")).await?;
        let expected = format!("error: stopped after {GOOD_LINES} lines: ");
        anyhow::ensure!(answer.starts_with(&expected), "the last sender was told: {answer}");
        lines.pop();
        anyhow::Ok((lines, answer))
    };
    let (good, too_long) = join(try_join_all(good), too_long).await;
    let (good, (before, answer)) = (good?, too_long?);
    println!("{SENDERS} senders were told that their {lines} lines are delivered; one was told:");
    print!("  {answer}");
    Ok(good.into_iter().flatten().chain(before).map(Bytes::from).collect())
}

fn line(sender: usize, number: usize) -> String {
    format!("line {number} of sender {sender}")
}

/// Sends the text, and returns the answer.
async fn send(server: SocketAddr, text: &str) -> anyhow::Result<String> {
    let mut connection = TcpStream::connect(server).await.context("nobody is listening")?;
    let mut answer = String::new();
    connection.write_all(text.as_bytes()).await?;
    connection.shutdown().await?;
    connection.read_to_string(&mut answer).await?;
    Ok(answer)
}
