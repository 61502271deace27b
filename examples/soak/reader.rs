//! Reads the records of the stream and deletes them from the server.

use std::time::Duration;

use ferrokinesis::store::Store;
use tokio::sync::{RwLock, watch};
use tokio::time::{Instant, sleep};

use crate::embedded::STREAM;
use crate::payload;
use crate::senders::SharedAccount;

const PAUSE: Duration = Duration::from_millis(100);
/// Time without a record after which the stream is read to its end. Longer than any fault.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// Reads until `written` is `true` and no more records arrive. `write_lock` excludes requests to the server.
///
/// It accesses the storage of the server instead of calling `GetRecords`, for two reasons: the server assigns
/// sequence numbers before it stores records, so that `GetRecords` may skip records of concurrent requests, and
/// records have to be deleted to bound the memory of the server.
pub async fn read(
    store: &Store,
    write_lock: &RwLock<()>,
    account: &SharedAccount,
    written: watch::Receiver<bool>,
) {
    let mut last_record = Instant::now();
    loop {
        let is_written = *written.borrow();
        let guard = write_lock.write().await;
        let records = store.get_record_store(STREAM).await;
        if !records.is_empty() {
            last_record = Instant::now();
        }
        let (keys, records): (Vec<_>, Vec<_>) = records.into_iter().unzip();
        let numbers = records.iter().map(|record| {
            let data = base64_simd::STANDARD.decode_to_vec(&record.data).ok();
            data.and_then(|data| payload::number(&data))
        });
        let numbers: Vec<_> = numbers.collect();
        account.with(|account| {
            for number in numbers {
                account.found(number);
            }
        });
        store.delete_record_keys(STREAM, &keys).await;
        drop(guard);
        if is_written && last_record.elapsed() > END_TIMEOUT {
            return;
        }
        sleep(PAUSE).await;
    }
}
