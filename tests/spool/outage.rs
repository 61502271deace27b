//! Tests of outages that last longer than the buffer.

use kinesis_sink::Record;
use kinesis_sink::sim::Faults;

use crate::fixtures::{
    Directory, builder, distinct, produce_with, record, soon, sorted, stream_in_outage, written,
};
use crate::support::alloc;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outage_longer_than_buffer_loses_nothing() {
    let (directory, stream) = (Directory::new(), stream_in_outage());
    let builder = builder().configure(|settings| settings.buffer_records = Some(100));
    let producer = produce_with(builder, &stream, directory.spool());
    for number in 0..20_000 {
        producer.send(record(number)).await.unwrap();
        if number % 1_000 == 0 {
            let status = producer.status();
            assert!(status.buffered().records <= 100, "{status:?}");
        }
    }
    assert_eq!(producer.status().spool.unwrap().records, 20_000);
    stream.set_faults(Faults::default());
    soon(producer.flush()).await.unwrap();
    assert_eq!(written(&stream).len(), 20_000, "no record is sent twice");
    producer.close().await.unwrap();
    assert_eq!(distinct(&stream), sorted(0..20_000));
}

#[test]
fn outage_does_not_use_memory() {
    const RECORDS: usize = 3_000;
    const BYTES: usize = 64 << 10;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (directory, stream) = (Directory::new(), stream_in_outage());
    runtime.block_on(async {
        let builder = builder().configure(|settings| settings.buffer_bytes = 4 << 20);
        let spool = directory.spool().with_segment_bytes(4 << 20);
        let producer = produce_with(builder, &stream, spool);
        let before = alloc::process();
        let mut peak = 0;
        for _ in 0..RECORDS {
            producer.send(Record::from(vec![0; BYTES])).await.unwrap();
            peak = peak.max(alloc::process() - before);
        }
        assert_eq!(producer.status().spool.unwrap().records as usize, RECORDS);
        // 188 MiB are on disk. Other tests in this process use some memory as well.
        assert!(peak < 64 << 20, "{peak} bytes");
        producer.close_within(std::time::Duration::ZERO).await.unwrap();
    });
}
