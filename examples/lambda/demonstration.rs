//! The Lambda service, with this program as its function, and a look into the stream after the last answer.

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
    let mut function = function(&lambda, &server)?;

    let mut refused = 0;
    for event in 0..EVENTS {
        let messages: Vec<_> = (0..MESSAGES).map(|number| message(event, number)).collect();
        let bodies: Vec<_> = messages.iter().map(|m| (m.id.clone(), m.body.clone())).collect();
        let event = serde_json::to_string(&Messages { messages })?;
        let answer: Answer =
            serde_json::from_slice(&invoke(&mut lambda, &mut function, event).await?)?;
        let is_refused = |id: &String| answer.failures.iter().any(|failure| failure.id == *id);
        let delivered = bodies.into_iter().filter(|(id, _)| !is_refused(id));
        delivered.for_each(|(_, body)| read_back.expect(Bytes::from(body)));
        refused += answer.failures.len();
    }
    // Whatever the function has not sent by now, it never will.
    function.kill().await?;
    println!(
        "{} messages in {EVENTS} events, {refused} of them refused; the function was killed after its \
         last answer",
        EVENTS * MESSAGES
    );
    let found = read_back.finish().await?;
    println!(
        "read back {}, {} missing, {} duplicated",
        found.records, found.missing, found.duplicated
    );
    anyhow::ensure!(found.missing == 0, "{} messages are missing in the stream", found.missing);
    anyhow::ensure!(refused == 1, "the message that is too large was answered for");
    Ok(())
}

/// The next event, unless the function ends instead.
async fn invoke(
    lambda: &mut RuntimeApi,
    function: &mut Child,
    event: String,
) -> anyhow::Result<Bytes> {
    tokio::select! {
        answer = lambda.invoke(event) => answer,
        ended = function.wait() => anyhow::bail!("the function ended: {}", ended?),
    }
}

/// One of them is larger than a record may be.
fn message(event: usize, number: usize) -> Message {
    let body = match (event, number) {
        (1, 7) => "x".repeat(1_100_000),
        _ => format!("message {number} of event {event}"),
    };
    Message { id: format!("{event}-{number}"), body }
}

/// This program, in a process of its own, as a function whose stream is in the embedded server.
fn function(lambda: &RuntimeApi, server: &Embedded) -> anyhow::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.envs(lambda.environment());
    command.env("STREAM_NAME", STREAM).env("AWS_ENDPOINT_URL_KINESIS", server.endpoint());
    command.env("AWS_REGION", "us-east-1");
    command.env("AWS_ACCESS_KEY_ID", "local").env("AWS_SECRET_ACCESS_KEY", "local");
    command.kill_on_drop(true).spawn().context("cannot start this program again")
}
