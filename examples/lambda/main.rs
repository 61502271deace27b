//! An AWS Lambda function that forwards the messages of an SQS queue into a Kinesis stream.
//!
//! Lambda freezes or ends the process as soon as a handler has answered, so what is answered for must be in
//! the stream by then. A message that is not is named in the answer, and SQS hands it out again.
//!
//! Without arguments it shows that: it is the Lambda service itself, starts itself as the function, hands out
//! a few events, and kills the function after its last answer. In Lambda it runs the handler.

mod demonstration;
#[path = "../support/embedded.rs"]
mod embedded;
mod event;
#[path = "../support/logs.rs"]
mod logs;
#[path = "../support/read_back.rs"]
mod read_back;
mod runtime_api;

use std::convert::Infallible;
use std::time::Duration;

use anyhow::Context;
use futures::future::join_all;
use kinesis_sink::settings::FatalPolicy;
use kinesis_sink::{KinesisSink, Producer, Record};
use lambda_runtime::{LambdaEvent, service_fn};

use self::event::{Answer, Failure, Message, Messages};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    logs::begin("kinesis_sink=info");
    match std::env::var_os("AWS_LAMBDA_RUNTIME_API") {
        Some(_) => run().await,
        None => demonstration::run().await,
    }
}

/// Once for each process, which takes one event after the other.
async fn run() -> anyhow::Result<()> {
    let stream = std::env::var("STREAM_NAME").context("STREAM_NAME names the stream")?;
    let producer = KinesisSink::builder(stream)
        // Together less than the function's own time-out: everything is settled before that.
        .with_deadline(Duration::from_secs(10))
        .configure(|settings| settings.request_timeout = Duration::from_secs(5))
        // A lapse of permissions must not cripple the process for the events after it.
        .configure(|settings| settings.fatal_policy = FatalPolicy::Retry)
        .build_from_env()
        .await?
        .spawn();
    let handler = service_fn(|event| handle(&producer, event));
    tokio::select! {
        ended = lambda_runtime::run(handler) => ended.map_err(|error| anyhow::anyhow!(error))?,
        // Lambda says so only to functions with an extension. Nothing is under way between two events.
        () = terminated() => {}
    }
    Ok(producer.close().await?)
}

/// The heart of it: every receipt is awaited before the answer. That is the flush.
async fn handle(producer: &Producer, event: LambdaEvent<Messages>) -> Result<Answer, Infallible> {
    let puts = event.payload.messages.into_iter().map(|message| put(producer, message));
    let failed = join_all(puts).await.into_iter().flatten();
    Ok(Answer { failures: failed.map(|id| Failure { id }).collect() })
}

/// The id of the message, if it did not arrive.
async fn put(producer: &Producer, message: Message) -> Option<String> {
    let Message { id, body } = message;
    let delivered = async {
        let receipt = producer.put(Record::from(body)).await?;
        anyhow::Ok(receipt.await?)
    };
    match delivered.await {
        Ok(_) => None,
        Err(error) => {
            eprintln!("message {id} is not in the stream: {error}");
            Some(id)
        }
    }
}

#[cfg(unix)]
async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => _ = terminate.recv().await,
        Err(_) => std::future::pending().await,
    }
}

#[cfg(not(unix))]
async fn terminated() {
    std::future::pending().await
}
