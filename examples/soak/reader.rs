//! Reads the stream, and takes out of it what was read.

use std::time::Duration;

use ferrokinesis::store::Store;
use tokio::sync::{RwLock, watch};
use tokio::time::{Instant, sleep};

use crate::embedded::STREAM;
use crate::payload;
use crate::tasks::Shared;

const PAUSE: Duration = Duration::from_millis(100);
/// Nothing comes any more if nothing came for so long: longer than any fault lasts.
const QUIET: Duration = Duration::from_secs(5);

/// Reads until it is told that nobody writes any more, and then until nothing comes.
///
/// It looks into the server's memory instead of asking GetRecords. The server gives out sequence numbers
/// before it stores the records, so that with two requests at once a reader that goes on from a sequence
/// number misses records; and what was read has to leave the server, or its memory grows. Nobody writes while
/// `quiet` is held.
pub async fn read(
    store: &Store,
    quiet: &RwLock<()>,
    account: &Shared,
    written: watch::Receiver<bool>,
) {
    let mut latest = Instant::now();
    loop {
        let is_over = *written.borrow();
        let reading = quiet.write().await;
        let records = store.get_record_store(STREAM).await;
        if !records.is_empty() {
            latest = Instant::now();
        }
        let (keys, records): (Vec<_>, Vec<_>) = records.into_iter().unzip();
        let numbers = records.iter().map(|record| {
            let data = base64_simd::STANDARD.decode_to_vec(&record.data).ok();
            data.and_then(|data| payload::number(&data))
        });
        let numbers: Vec<_> = numbers.collect();
        account.with(|account| numbers.into_iter().for_each(|number| account.found(number)));
        store.delete_record_keys(STREAM, &keys).await;
        drop(reading);
        if is_over && latest.elapsed() > QUIET {
            return;
        }
        sleep(PAUSE).await;
    }
}
