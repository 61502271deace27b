//! Tests of the status of a spool.

use std::time::Duration;

use kinesis_sink::sim::Faults;

use crate::fixtures::{
    Directory, builder, eventually, produce, record, soon, stream, stream_in_outage,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_shows_contents_of_spool() {
    let directory = Directory::new();
    let before = stream_in_outage();
    let producer = produce(&before, directory.spool());
    for number in 0..10 {
        producer.send(record(number)).await.unwrap();
    }
    let spool = producer.status().spool.unwrap();
    assert_eq!((spool.records, spool.recovered, spool.damaged_frames), (10, 0, 0));
    assert!(!spool.is_full && spool.last_error.is_none());
    assert!(spool.disk_bytes >= 256 << 10, "{spool:?}");
    eventually(|| producer.status().spool.unwrap().oldest_age).await;
    let info = directory.spool().inspect().unwrap();
    assert_eq!((info.records, info.next_sequence, info.segments.len()), (10, 10, 1));
    producer.close_within(Duration::ZERO).await.unwrap();
    let info = directory.spool().verify().unwrap();
    assert_eq!((info.records, info.next_sequence, info.damage.len()), (10, 10, 0));

    let stream = stream_in_outage();
    let sink = builder().with_spool(directory.spool()).build_with(stream.service()).unwrap();
    assert_eq!(sink.status().spool.unwrap().recovered, 10);
    let producer = sink.spawn();
    stream.set_faults(Faults::default());
    soon(producer.flush()).await.unwrap();
    eventually(|| {
        let spool = producer.status().spool.unwrap();
        (spool.records == 0 && spool.oldest_age.is_none()).then_some(())
    })
    .await;
    producer.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_is_counted_and_sink_starts() {
    let directory = Directory::new();
    let producer = produce(&stream_in_outage(), directory.spool());
    for number in 0..1_000 {
        producer.send(record(number)).await.unwrap();
    }
    producer.close_within(Duration::ZERO).await.unwrap();
    let segment = std::fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "seg"))
        .min()
        .unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[5_000] ^= 0xff;
    std::fs::write(&segment, bytes).unwrap();

    let strict = builder().with_spool(directory.spool().strict(true));
    let error = strict.build_with(stream().service()).unwrap_err().to_string();
    let name = segment.file_name().unwrap().to_str().unwrap();
    assert!(error.contains(name) && error.contains("offset"), "{error}");

    let info = directory.spool().verify().unwrap();
    assert_eq!(info.damage.len(), 1, "{info:?}");
    assert!(info.damage[0].file.ends_with(name) && info.damage[0].records > 0);
    let stream = stream();
    let producer = produce(&stream, directory.spool());
    soon(producer.flush()).await.unwrap();
    let spool = eventually(|| producer.status().spool.filter(|spool| spool.records == 0)).await;
    assert_eq!(spool.damaged_frames, 1, "{spool:?}");
    assert!(stream.written().len() >= 998, "{}", stream.written().len());
    producer.close().await.unwrap();
}
