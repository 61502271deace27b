//! The tasks that send.

use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use kinesis_sink::{Delivery, Producer, Record, Undelivered};
use tokio::sync::watch;

use crate::account::Account;
use crate::payload::payload;

/// The account that everybody writes into.
#[derive(Debug, Default)]
pub struct Shared(Mutex<Account>);

impl Shared {
    pub fn with<T>(&self, act: impl FnOnce(&mut Account) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

type Outcome = (u64, Result<Delivery, Undelivered>);

/// Sends as fast as the producer takes it, with up to `window` receipts open, until it is told to stop;
/// then waits for the receipts that are open.
pub async fn send(
    producer: Producer,
    window: usize,
    account: Arc<Shared>,
    mut stop: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let mut receipts: FuturesUnordered<BoxFuture<'static, Outcome>> = FuturesUnordered::new();
    let settle = |(number, outcome): Outcome| {
        account.with(|account| match outcome {
            Ok(_) => account.delivered(number),
            Err(_) => account.handed_back(number),
        });
    };
    let mut refused = None;
    while !*stop.borrow() {
        while receipts.len() >= window {
            receipts.next().await.into_iter().for_each(settle);
        }
        let number = account.with(Account::issue);
        // Some keys are hot, most records go anywhere.
        let record = match number % 10 {
            0 => Record::from((format!("key-{}", number % 7), payload(number))),
            _ => Record::new(payload(number)),
        };
        let put = tokio::select! {
            put = producer.put(record) => put,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        match put {
            Ok(receipt) => {
                account.with(|account| account.accepted(number));
                receipts.push(receipt.map(move |outcome| (number, outcome)).boxed());
            }
            // Told to stop, and the producer was closed before this could be seen.
            Err(_) if *stop.borrow() => break,
            Err(error) => {
                refused = Some(error);
                break;
            }
        }
        while let Some(Some(outcome)) = receipts.next().now_or_never() {
            settle(outcome);
        }
    }
    receipts.for_each(async |outcome| settle(outcome)).await;
    match refused {
        Some(refused) => Err(anyhow::anyhow!("a record was refused: {refused}")),
        None => Ok(()),
    }
}
