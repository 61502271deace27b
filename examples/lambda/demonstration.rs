//! Simulates the Lambda service. The simulation runs this program as its function and verifies the stream.

use anyhow::Context;
use bytes::Bytes;
use tokio::process::{Child, Command};

use crate::embedded::{Embedded, STREAM};
use crate::event::{Answer, Message, Messages};
use crate::read_back::{From, ReadBack};
use crate::runtime_api::RuntimeApi;

const EVENTS: usize = 5;
const MESSAGES: usize = 100;

pub async fn run() -> anyhow::Result<()> {
    let server = Embedded::start(2, true).await?;
    println!("embedded Kinesis server at {}, stream {STREAM}", server.endpoint());
    let mut read_back = ReadBack::begin(server.client(), STREAM, From::Start).await?;
    let mut lambda = RuntimeApi::start().await?;
    let mut function = start_function(&lambda, &server)?;

    let mut failed = 0;
    for event in 0..EVENTS {
        let messages: Vec<_> = (0..MESSAGES).map(|number| message(event, number)).collect();
        let bodies: Vec<_> = messages.iter().map(|m| (m.id.clone(), m.body.clone())).collect();
        let event = serde_json::to_string(&Messages { messages })?;
        let answer: Answer =
            serde_json::from_slice(&invoke(&mut lambda, &mut function, event).await?)?;
        for (id, body) in bodies {
            if answer.failures.iter().all(|failure| failure.id != id) {
                read_back.expect(Bytes::from(body));
            }
        }
        failed += answer.failures.len();
    }
    // A killed function cannot send more records, so all confirmed messages must be on the stream already.
    function.kill().await?;
    println!(
        "{} messages in {EVENTS} events, {failed} failed; the function was killed after its last answer",
        EVENTS * MESSAGES
    );
    read_back.check().await?;
    anyhow::ensure!(failed == 1, "{failed} messages failed, expected 1: the one that is too large");
    Ok(())
}

async fn invoke(
    lambda: &mut RuntimeApi,
    function: &mut Child,
    event: String,
) -> anyhow::Result<Bytes> {
    tokio::select! {
        answer = lambda.invoke(event) => answer,
        ended = function.wait() => anyhow::bail!("the function exited: {}", ended?),
    }
}

/// Returns a message. One of the messages is larger than the record size limit.
fn message(event: usize, number: usize) -> Message {
    let body = match (event, number) {
        (1, 7) => "x".repeat(1_100_000),
        _ => format!("message {number} of event {event}"),
    };
    Message { id: format!("{event}-{number}"), body }
}

fn start_function(lambda: &RuntimeApi, server: &Embedded) -> anyhow::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.envs(lambda.environment());
    command.env("STREAM_NAME", STREAM).env("AWS_ENDPOINT_URL_KINESIS", server.endpoint());
    command.env("AWS_REGION", "us-east-1");
    command.env("AWS_ACCESS_KEY_ID", "local").env("AWS_SECRET_ACCESS_KEY", "local");
    command.kill_on_drop(true).spawn().context("cannot start the function")
}
