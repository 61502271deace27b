//! Tests of opening a spool: its owner, its files, its settings, and its errors.

use std::time::{Duration, Instant};

use futures::{FutureExt, SinkExt};
use kinesis_sink::settings::FatalPolicy;
use kinesis_sink::spool::{Spool, SpoolErrorKind, SpoolMode, Sync, WhenFull};
use kinesis_sink::{BuildError, ErrorKind, KinesisSink, Record};

use crate::fixtures::{Directory, builder, produce, record, stream, stream_in_outage};

fn build(spool: Spool) -> Result<(), BuildError> {
    builder().with_spool(spool).build_with(stream().service()).map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn second_owner_gets_error_with_path() {
    let (directory, stream) = (Directory::new(), stream());
    let producer = produce(&stream, directory.spool());
    let error = build(directory.spool()).unwrap_err();
    let path = directory.path();
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    let BuildError::Spool(error) = error else { panic!("{error}") };
    assert_eq!(error.kind(), SpoolErrorKind::Locked);
    producer.close().await.unwrap();
    build(directory.spool()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_producer_releases_directory() {
    let (directory, stream) = (Directory::new(), stream());
    for _ in 0..10 {
        let producer = produce(&stream, directory.spool());
        producer.send(record(1)).await.unwrap();
        producer.flush().await.unwrap();
        drop(producer);
    }
    // A sink that was never converted into a producer.
    drop(builder().with_spool(directory.spool()).build_with(stream.service()).unwrap());
    build(directory.spool()).unwrap();
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_readable_only_for_owner() {
    use std::os::unix::fs::PermissionsExt;

    let directory = Directory::new();
    let producer = produce(&stream_in_outage(), directory.spool());
    producer.send(record(1)).await.unwrap();
    let mode = |path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(directory.path()), 0o700);
    let mut files = 0;
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        files += 1;
        assert_eq!(mode(entry.unwrap().path()), 0o600);
    }
    assert!(files >= 2, "a segment and the lock");
}

#[tokio::test]
async fn sink_with_spool_needs_producer() {
    let (directory, stream) = (Directory::new(), stream());
    let mut sink = builder().with_spool(directory.spool()).build_with(stream.service()).unwrap();
    let error = sink.send(record(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NeedsProducer);
    let message = error.to_string();
    assert!(message.contains("`spawn`") && message.contains("`into_producer`"), "{message}");
    let error = sink.start_send_unpin(record(1)).unwrap_err();
    assert_eq!((error.kind(), error.into_record()), (ErrorKind::NeedsProducer, Some(record(1))));
    assert_eq!(sink.status().totals.accepted, 0);
    sink.close().now_or_never().unwrap().unwrap();
}

#[test]
fn invalid_setting_is_named_with_its_table() {
    let directory = Directory::new();
    let error = build(directory.spool().with_max_bytes(1)).unwrap_err();
    assert_eq!(error.setting(), Some("spool.max_bytes"));
    let error = build(directory.spool().with_sync(Sync::Interval(Duration::MAX))).unwrap_err();
    assert_eq!(error.setting(), Some("spool.sync.interval"));
    let error = build(Spool::at("/dev/null/spool")).unwrap_err();
    assert!(error.to_string().contains("/dev/null"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn record_larger_than_segment_is_rejected() {
    let (directory, stream) = (Directory::new(), stream());
    let producer = produce(&stream, directory.spool().with_segment_bytes(64 << 10));
    let large = || Record::from(vec![0; 64 << 10]);
    for error in [producer.send(large()).await, producer.try_send(large())] {
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::RecordTooLarge);
        assert!(error.to_string().contains("segment_bytes"), "{error}");
        assert_eq!(error.into_record(), Some(large()));
    }
    producer.send(Record::from(vec![0; 59 << 10])).await.unwrap();
    producer.close().await.unwrap();
    assert_eq!(stream.written().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recovered_record_above_limit_fails() {
    let directory = Directory::new();
    let producer = produce(&stream_in_outage(), directory.spool());
    producer.send(Record::from(vec![0; 2_000])).await.unwrap();
    producer.send(record("small")).await.unwrap();
    producer.close_within(Duration::ZERO).await.unwrap();
    let stream = stream();
    let limited = builder().configure(|settings| {
        settings.limits = settings.limits.with_record_bytes(1_000);
    });
    let sink = limited.with_spool(directory.spool()).build_with(stream.service()).unwrap();
    let producer = sink.spawn();
    assert_eq!(producer.flush().await.unwrap_err().kind(), ErrorKind::Undelivered);
    let failed = producer.take_failed().await;
    assert_eq!(failed[0].record().data().len(), 2_000);
    assert!(failed[0].reason().to_string().contains("2008 bytes"), "{}", failed[0].reason());
    producer.close().await.unwrap();
    assert_eq!(stream.written().len(), 1);
}

#[test]
fn locked_directory_is_reported_soon() {
    let directory = Directory::new();
    let sink = builder().with_spool(directory.spool()).build_with(stream().service()).unwrap();
    let started = Instant::now();
    build(directory.spool()).unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(10));
    drop(sink);
}

#[test]
fn settings_file_configures_spool() {
    let directory = Directory::new();
    let file = format!(
        r#"
            [spool]
            path = {:?}
            max_bytes = "10GiB"
            segment_bytes = "8MiB"
            sync = "always"
            when_full = "refuse"
            mode = "overflow"
            strict = "true"
        "#,
        directory.path()
    );
    let settings: kinesis_sink::Settings = toml::from_str(&file).unwrap();
    let expected = Spool::at(directory.path())
        .with_max_bytes(10 << 30)
        .with_segment_bytes(8 << 20)
        .with_sync(Sync::Always)
        .when_full(WhenFull::Refuse)
        .with_mode(SpoolMode::Overflow)
        .strict(true);
    assert_eq!(settings.spool.as_ref(), Some(&expected));
    let stored = toml::to_string(&settings).unwrap();
    assert_eq!(toml::from_str::<kinesis_sink::Settings>(&stored).unwrap(), settings);

    let sink = KinesisSink::builder("example").with_settings(settings);
    let sink = sink.configure(|settings| settings.fatal_policy = FatalPolicy::Retry);
    let _sink = sink.build_with(stream().service()).unwrap();
    assert!(directory.path().join("lock").exists());

    let interval: Spool = toml::from_str("path = \"spool\"\nsync = { interval = \"2s\" }").unwrap();
    assert_eq!(interval, Spool::at("spool").with_sync(Sync::Interval(Duration::from_secs(2))));
    let error = toml::from_str::<Spool>("path = \"spool\"\nmax_size = 1").unwrap_err();
    assert!(error.to_string().contains("max_size"), "{error}");
}
