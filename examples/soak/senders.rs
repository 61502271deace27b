use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use kinesis_sink::{Delivery, Producer, Record, Undelivered};
use tokio::sync::watch;

use crate::account::Account;
use crate::payload::payload;

#[derive(Debug, Default)]
pub struct SharedAccount(Mutex<Account>);

impl SharedAccount {
    pub fn with<T>(&self, f: impl FnOnce(&mut Account) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

type Outcome = (u64, Result<Delivery, Undelivered>);

/// Sends records until `stop` is `true`, with up to `window` pending receipts. Then awaits the remaining receipts.
pub async fn send(
    producer: Producer,
    window: usize,
    account: Arc<SharedAccount>,
    mut stop: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let mut receipts: FuturesUnordered<BoxFuture<'static, Outcome>> = FuturesUnordered::new();
    let settle = |(number, outcome): Outcome| {
        account.with(|account| match outcome {
            Ok(_) => account.delivered(number),
            Err(_) => account.returned(number),
        });
    };
    let mut result = Ok(());
    while !*stop.borrow() {
        while receipts.len() >= window {
            if let Some(outcome) = receipts.next().await {
                settle(outcome);
            }
        }
        let number = account.with(Account::issue);
        // Most records have random keys. The others share a few hot keys.
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
            // The producer was closed after `stop` was set.
            Err(_) if *stop.borrow() => break,
            Err(error) => {
                result = Err(anyhow::anyhow!("producer rejected a record: {error}"));
                break;
            }
        }
        while let Some(Some(outcome)) = receipts.next().now_or_never() {
            settle(outcome);
        }
    }
    while let Some(outcome) = receipts.next().await {
        settle(outcome);
    }
    result
}
