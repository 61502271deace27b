use std::time::Duration;

use ferrokinesis::store::Store;
use tokio::sync::{RwLock, watch};
use tokio::time::{Instant, sleep};

use crate::embedded::STREAM;
use crate::payload;
use crate::senders::SharedAccount;

const PAUSE: Duration = Duration::from_millis(100);
/// Time without a new record after which the stream counts as read to its end. It exceeds the duration of any fault.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// Reads until `written` is `true` and no more records arrive. Locking `write_lock` pauses the server.
///
/// Accesses the server storage, because `GetRecords` can skip records that are written concurrently: the server assigns
/// sequence numbers before it stores records. Deletes the records read, to limit the memory use of the server.
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
