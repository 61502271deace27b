//! An AWS Lambda function that forwards the messages of an SQS queue to a Kinesis stream.
//!
//! Lambda can freeze or stop the process when the handler has returned, so the handler awaits the delivery of all
//! messages. The response lists the failed messages, which SQS then delivers again.
//!
//! Outside of Lambda the program simulates the service, and kills the function after its last response.

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
    logs::init("kinesis_sink=info");
    match std::env::var_os("AWS_LAMBDA_RUNTIME_API") {
        Some(_) => run().await,
        None => demonstration::run().await,
    }
}

async fn run() -> anyhow::Result<()> {
    let stream = std::env::var("STREAM_NAME")
        .context("STREAM_NAME must be set to the name of the stream")?;
    let producer = KinesisSink::builder(stream)
        // The sum of the deadline and the request timeout is less than the timeout of the function.
        .with_deadline(Duration::from_secs(10))
        .configure(|settings| settings.request_timeout = Duration::from_secs(5))
        // If permissions are missing temporarily, the producer keeps running.
        .configure(|settings| settings.fatal_policy = FatalPolicy::Retry)
        .build_from_env()
        .await?
        .spawn();
    let handler = service_fn(|event| handle(&producer, event));
    tokio::select! {
        ended = lambda_runtime::run(handler) => ended.map_err(|error| anyhow::anyhow!(error))?,
        // Lambda sends SIGTERM between two events, and only to functions with an extension.
        () = terminated() => {}
    }
    Ok(producer.close().await?)
}

async fn handle(producer: &Producer, event: LambdaEvent<Messages>) -> Result<Answer, Infallible> {
    let puts = event.payload.messages.into_iter().map(|message| put(producer, message));
    let failed = join_all(puts).await.into_iter().flatten();
    Ok(Answer { failures: failed.map(|id| Failure { id }).collect() })
}

/// Sends a message. Returns the message ID if the message was not delivered.
async fn put(producer: &Producer, message: Message) -> Option<String> {
    let Message { id, body } = message;
    let delivered = async {
        let receipt = producer.put(Record::from(body)).await?;
        anyhow::Ok(receipt.await?)
    };
    match delivered.await {
        Ok(_) => None,
        Err(error) => {
            eprintln!("message {id} was not delivered: {error}");
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
