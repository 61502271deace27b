//! Tests the throughput, throttling, and fairness of the rate limiters. The benchmark `pacing` measures more scenarios.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use futures::StreamExt;
use kinesis_sink::service::{Placement, PutRecordsError, PutRecordsRequest, PutRecordsResponse};
use kinesis_sink::sim::{Latency, SimStats, SimStream};
use kinesis_sink::{KinesisSink, Record};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tower::service_fn;

use super::load::{Keys, Load, Source, number_of};

const SECOND: Duration = Duration::from_secs(1);

/// Offers `rate` records per second. Returns the statistics at the start and after each second.
async fn offer(
    stream: &SimStream,
    rate: f64,
    seconds: u64,
    on_second: impl Fn(u64, &SimStream),
) -> Vec<SimStats> {
    let load = Load {
        seed: 1,
        rate,
        keys: Keys::Random,
        without_hot: false,
        producers: 1,
        producer: 0,
        record_bytes: 100,
    };
    let sink = KinesisSink::builder("example")
        .configure(|settings| settings.seed = Some(1))
        .build_with(stream.service());
    let mut sink = sink.unwrap();
    let source = Source::new(load, Duration::from_secs(seconds));
    let send = timeout(
        Duration::from_secs(seconds),
        source.map(|offered| Ok(offered.record())).forward(&mut sink),
    );
    let watch = async {
        let start = Instant::now();
        let mut samples = vec![stream.stats()];
        for second in 1..=seconds {
            sleep_until(start + SECOND * second as u32 - Duration::from_millis(1)).await;
            samples.push(stream.stats());
            on_second(second, stream);
        }
        samples
    };
    futures::future::join(send, watch).await.1
}

fn stream(shards: usize) -> SimStream {
    SimStream::builder().with_shards(shards).with_seed(1).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn overload_fills_requests_without_throttles() {
    let stream = stream(4);
    let samples = offer(&stream, 12_000.0, 12, |_, _| ()).await;
    let (before, after) = (&samples[2], &samples[12]);
    assert_eq!(after.throttled_entries, before.throttled_entries);
    let written = after.accepted_entries - before.accepted_entries;
    assert!((39_500..=40_200).contains(&written), "{written}");
    let entries = (after.entries - before.entries) / (after.requests - before.requests);
    assert!(entries > 140, "{entries} entries per request");
}

/// The shard accepts a burst of at most 300 ms of its quota, so a sink that sends larger bursts is throttled.
#[tokio::test(start_paused = true)]
async fn full_rate_avoids_bursts_above_300_ms() {
    let builder = SimStream::builder().with_seed(1).with_burst(Duration::from_millis(300));
    let stream = builder.build().unwrap();
    let samples = offer(&stream, 3_000.0, 30, |_, _| ()).await;
    let (before, after) = (&samples[10], &samples[30]);
    let throttled = after.throttled_entries - before.throttled_entries;
    let entries = after.entries - before.entries;
    assert!(throttled * 50 <= entries, "{throttled} of {entries}");
    let written = (after.accepted_entries - before.accepted_entries) as f64 / 20.0;
    assert!(written > 900.0, "{written}");
}

#[tokio::test(start_paused = true)]
async fn rate_recovers_after_background_load() {
    let stream = stream(1);
    let samples = offer(&stream, 3_000.0, 60, |second, stream| match second {
        5 => stream.set_load(0.5),
        25 => stream.set_load(0.0),
        _ => {}
    });
    let samples = samples.await;
    let written = |from: usize, to: usize| {
        (samples[to].accepted_entries - samples[from].accepted_entries) as f64 / (to - from) as f64
    };
    assert!((420.0..=520.0).contains(&written(10, 25)), "{}", written(10, 25));
    let throttled = samples[25].throttled_entries - samples[8].throttled_entries;
    let entries = samples[25].entries - samples[8].entries;
    assert!(throttled * 20 < entries, "{throttled} of {entries}");
    assert!(written(55, 60) > 950.0, "{}", written(55, 60));
}

#[tokio::test(start_paused = true)]
async fn child_shards_inherit_learned_rate() {
    let stream = stream(2);
    let samples = offer(&stream, 8_000.0, 30, |second, stream| match second {
        2 => stream.set_load(0.8),
        20 => stream.update_shard_count(4).unwrap(),
        _ => {}
    });
    let samples = samples.await;
    let entries = samples[23].entries - samples[20].entries;
    let at_most = 4.0 * 1_000.0 * 0.4 * 3.0;
    assert!(
        (entries as f64) < at_most,
        "{entries} entries sent in the three seconds after the reshard"
    );
}

/// The service assigns records to random shards, as with AUTO, but the stream description does not report AUTO.
#[tokio::test(start_paused = true)]
async fn undeclared_auto_stream_is_not_rate_limited() {
    let rng = Arc::new(Mutex::new(Rng::with_seed(1)));
    let service = service_fn(move |request: PutRecordsRequest| {
        let rng = Arc::clone(&rng);
        async move {
            sleep(Duration::from_millis(20)).await;
            let mut rng = rng.lock().unwrap();
            let shard = |_| Ok(Placement::new(format!("shardId-{}", rng.u8(..4)), "1"));
            let results = request.entries().iter().map(shard).collect();
            Ok::<_, PutRecordsError>(PutRecordsResponse::new(results))
        }
    });
    let mut sink = KinesisSink::builder("example")
        .configure(|settings| settings.seed = Some(1))
        .build_with(service)
        .unwrap();
    let records = (0..100_000_u32).map(|number| Ok(Record::from((number.to_string(), "x"))));
    let start = Instant::now();
    futures::stream::iter(records).forward(&mut sink).await.unwrap();
    // If each shard were limited to 1,000 records/s, this would take about 25 s.
    assert!(start.elapsed() < 5 * SECOND, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn records_are_sent_nearly_in_order() {
    let stream = stream(4);
    let samples = offer(&stream, 2_000.0, 10, |_, _| ()).await;
    assert_eq!(samples[10].throttled_entries, 0);
    let mut latest: HashMap<&str, u64> = HashMap::new();
    let written = stream.written();
    for record in &written {
        let number = number_of(record.data());
        let behind = latest.get(record.shard_id()).map_or(0, |last| last.saturating_sub(number));
        assert!(behind < 200, "{behind}");
        latest.insert(record.shard_id(), number);
    }
}

/// The producers together offer three times the quota of the two shards.
#[tokio::test(start_paused = true)]
async fn ten_producers_share_stream_fairly() {
    const PRODUCERS: u64 = 10;
    // With a constant latency the producers would synchronize, and the service would always throttle the same ones.
    let latency = Latency::log_normal(Duration::from_millis(20), 0.3);
    let stream =
        SimStream::builder().with_shards(2).with_seed(1).with_latency(latency).build().unwrap();
    let time = 20 * SECOND;
    let producers = (0..PRODUCERS).map(|producer| {
        let load = Load {
            seed: producer,
            rate: 600.0,
            keys: Keys::Random,
            without_hot: false,
            producers: PRODUCERS,
            producer,
            record_bytes: 100,
        };
        let builder =
            KinesisSink::builder("example").configure(|settings| settings.seed = Some(producer));
        let mut sink = builder.build_with(stream.service()).unwrap();
        async move {
            let source = Source::new(load, time).map(|offered| Ok(offered.record()));
            let _ = timeout(time, source.forward(&mut sink)).await;
        }
    });
    let producers = futures::future::join_all(producers);
    let before = async {
        sleep(10 * SECOND).await;
        stream.stats()
    };
    let (_, before) = futures::future::join(producers, before).await;
    let after = stream.stats();
    let throttled = after.throttled_entries - before.throttled_entries;
    let entries = after.entries - before.entries;
    assert!(throttled * 20 < entries, "{throttled} of {entries}");
    let mut shares = [0.0; PRODUCERS as usize];
    for record in stream.written().iter().filter(|record| record.at() >= 10 * SECOND) {
        shares[(number_of(record.data()) % PRODUCERS) as usize] += 1.0;
    }
    let (sum, squares) = (shares.iter().sum::<f64>(), shares.iter().map(|share| share * share));
    let fairness = sum * sum / (PRODUCERS as f64 * squares.sum::<f64>());
    assert!(fairness > 0.85, "{fairness}: {shares:?}");
    assert!(sum > 10.0 * 2_000.0 * 0.93, "{sum}");
}
