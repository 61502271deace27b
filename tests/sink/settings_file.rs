//! Tests that the `Settings` in a configuration file correspond to the setters of `SinkBuilder`.

#![cfg(feature = "metrics")]

use std::collections::BTreeSet;
use std::time::Duration;

use futures::SinkExt;
use kinesis_sink::limits::Limits;
use kinesis_sink::metrics::MetricsGranularity;
use kinesis_sink::settings::{AggregateKey, FatalPolicy, Linger};
use kinesis_sink::sim::SimStream;
use kinesis_sink::spool::Spool;
use kinesis_sink::stream::Distribution;
use kinesis_sink::{
    Aggregation, KinesisSink, Record, RecordOrdering, Settings, SinkBuilder, StreamId,
};

/// A file that sets all settings to values other than the defaults.
const ALL: &str = r#"
    max_in_flight = 8
    linger = { fixed = "1s 500ms" }
    aggregation = "per_shard"
    aggregate_bytes = 25_600
    aggregate_records = 1_000
    aggregate_key = "kpl"
    ordering = "per_key"
    describe_stream = false
    buffer_records = 5_000
    buffer_bytes = 134_217_728
    backoff = { base = "50ms", ceiling = "10s" }
    max_attempts = 100
    deadline = "1h"
    credentials_timeout = "1m"
    request_timeout = "30s"
    max_request_timeout = "1m"
    fatal_policy = "retry"
    metrics = "stream"

    [limits]
    request_entries = 400
    request_bytes = 10_485_760
    record_bytes = 2_097_152
    shard_records = 500
    shard_bytes = 524_288

    [spool]
    path = "spools/example"
"#;

const DEFAULTS: &str = r#"
    max_in_flight = 4
    linger = { adaptive = "100ms" }
    aggregation = "off"
    aggregate_bytes = 51_200
    aggregate_records = 4_294_967_295
    aggregate_key = "first_member"
    ordering = "unordered"
    describe_stream = true
    buffer_records = 10_000
    buffer_bytes = 33_554_432
    backoff = { base = "100ms", ceiling = "3s" }
    credentials_timeout = "5m"
    request_timeout = "10s"
    max_request_timeout = "30s"
    fatal_policy = "stop"
    metrics = "shard"

    [limits]
    request_entries = 500
    request_bytes = 5_242_880
    shard_records = 1_000
    shard_bytes = 1_048_576
"#;

const WITHOUT_DEFAULT: [&str; 3] = ["deadline", "max_attempts", "spool"];

/// Setters without a setting of the same name.
const CODE_ONLY: [&str; 6] =
    ["budget", "classify", "dead_letter_handler", "dead_letters", "settings", "stream_info"];

fn read(text: &str) -> Settings {
    toml::from_str(text).unwrap()
}

fn refusal(text: &str) -> String {
    toml::from_str::<Settings>(text).expect_err(text).to_string()
}

fn builder() -> SinkBuilder {
    KinesisSink::builder("example")
}

fn shown(builder: &SinkBuilder) -> String {
    format!("{builder:#?}")
}

fn keys(text: &str) -> BTreeSet<String> {
    text.parse::<toml::Table>().unwrap().into_iter().map(|(key, _)| key).collect()
}

#[test]
fn every_setting_reaches_the_builder() {
    let set = builder()
        .configure(|settings| {
            settings.limits = Limits::default()
                .with_request_entries(400)
                .with_request_bytes(10 * 1024 * 1024)
                .with_record_bytes(2 * 1024 * 1024)
                .with_shard_records(500)
                .with_shard_bytes(512 * 1024)
        })
        .with_max_in_flight(8)
        .with_linger(Linger::Fixed(Duration::from_millis(1_500)))
        .with_aggregation(Aggregation::PerShard)
        .configure(|settings| {
            settings.aggregate_bytes = 25_600;
            settings.aggregate_records = 1_000;
            settings.aggregate_key = AggregateKey::Kpl;
        })
        .with_ordering(RecordOrdering::PerKey)
        .configure(|settings| {
            settings.describe_stream = false;
            settings.buffer_records = Some(5_000);
            settings.buffer_bytes = 128 * 1024 * 1024;
            settings.backoff.base = Duration::from_millis(50);
            settings.backoff.ceiling = Duration::from_secs(10);
            settings.max_attempts = Some(100);
        })
        .with_deadline(Duration::from_secs(3_600))
        .with_spool(Spool::at("spools/example"))
        .configure(|settings| {
            settings.credentials_timeout = Duration::from_secs(60);
            settings.request_timeout = Duration::from_secs(30);
            settings.max_request_timeout = Duration::from_secs(60);
            settings.fatal_policy = FatalPolicy::Retry;
            settings.metrics = MetricsGranularity::Stream;
        });
    assert_eq!(shown(&builder().with_settings(read(ALL))), shown(&set));
}

#[test]
fn each_setting_changes_builder() {
    let untouched = shown(&builder());
    for (key, value) in ALL.parse::<toml::Table>().unwrap() {
        let alone = toml::Table::from_iter([(key.clone(), value)]).to_string();
        assert_ne!(shown(&builder().with_settings(read(&alone))), untouched, "{key} has no effect");
    }
}

#[test]
fn each_setter_has_a_setting() {
    let source = include_str!("../../src/sink/builder.rs");
    let methods = source.lines().filter_map(|line| {
        let line = line.trim_start().strip_prefix("pub fn with")?;
        line.strip_prefix("out_").or(line.strip_prefix('_'))?.split(['(', '<']).next()
    });
    let settings = keys(ALL);
    let missing: Vec<_> =
        methods.filter(|name| !settings.contains(*name) && !CODE_ONLY.contains(name)).collect();
    assert!(missing.is_empty(), "add to Settings or to CODE_ONLY: {missing:?}");
}

#[test]
fn missing_keys_keep_defaults() {
    assert_eq!(read(""), Settings::default());
    let alone = read("max_in_flight = 8");
    let mut settings = Settings::default();
    settings.max_in_flight = 8;
    assert_eq!(alone, settings);
}

#[test]
fn with_settings_replaces_all_settings() {
    let all = || builder().with_settings(read(ALL));
    assert_eq!(shown(&all().with_settings(read(""))), shown(&builder()));
    assert_eq!(shown(&builder().configure(|settings| *settings = read(ALL))), shown(&all()));
}

#[test]
fn setter_overrides_earlier_settings() {
    let set = builder().with_settings(read(ALL)).with_max_in_flight(9);
    let mut settings = read(ALL);
    settings.max_in_flight = 9;
    assert_eq!(shown(&set), shown(&builder().with_settings(settings)));
}

#[test]
fn explicit_defaults_change_nothing() {
    let defaults = builder().with_settings(read(DEFAULTS));
    assert_eq!(shown(&defaults), shown(&builder()));
    let without = WITHOUT_DEFAULT.map(String::from).into();
    assert_eq!(&keys(ALL) - &keys(DEFAULTS), without, "settings without a default");
}

#[test]
fn settings_round_trip() {
    for text in [ALL, DEFAULTS, ""] {
        let settings = read(text);
        let written = toml::to_string(&settings).unwrap();
        assert!(keys(&written).is_superset(&keys(text)), "{written}");
        assert_eq!(read(&written), settings);
        let written = serde_json::to_string(&settings).unwrap();
        assert_eq!(serde_json::from_str::<Settings>(&written).unwrap(), settings);
    }
}

#[test]
fn enums_and_durations_round_trip() {
    let mut settings = Settings::default();
    let lingers = [Linger::Auto, Linger::Adaptive, Linger::Fixed];
    let durations = [0, 1, 999, 1_500, 60_000].map(Duration::from_millis);
    for (linger, duration) in lingers.into_iter().flat_map(|linger| durations.map(|d| (linger, d)))
    {
        settings.linger = linger(duration);
        settings.deadline = Some(duration);
        let written = toml::to_string(&settings).unwrap();
        assert_eq!(read(&written), settings, "{written}");
    }
    for (key, words) in [
        ("aggregation", ["off", "per_key", "per_shard"].as_slice()),
        ("aggregate_key", &["first_member", "kpl"]),
        ("ordering", &["unordered", "per_key"]),
        ("fatal_policy", &["stop", "retry"]),
    ] {
        for word in words {
            let line = format!("{key} = \"{word}\"\n");
            assert!(toml::to_string(&read(&line)).unwrap().contains(&line));
        }
    }
}

#[test]
fn unknown_key_error_names_key() {
    for (text, key) in [
        ("max_inflight = 4", "`max_inflight`, expected one of `limits`, `max_in_flight`"),
        ("limits = { shard_record = 4 }", "`shard_record`, expected one of `request_entries`"),
        ("backoff = { base = '1s', celing = '2s' }", "`celing`, expected `base` or `ceiling`"),
    ] {
        let refused = refusal(text);
        assert!(refused.contains(&format!("unknown field {key}")), "{refused}");
    }
}

#[test]
fn invalid_value_names_key_and_notation() {
    const DURATION: &str = "expected a duration such as \"100ms\" or \"1h 30m\" for deadline";
    for (text, expected) in [
        ("deadline = 5", &*format!("invalid type: integer `5`, {DURATION}")),
        ("deadline = '5'", &format!("invalid value: string \"5\", {DURATION}")),
        ("deadline = 'soon'", &format!("invalid value: string \"soon\", {DURATION}")),
        ("linger = {}", "set either `adaptive` or `fixed`"),
        ("linger = { adaptive = '1s', fixed = '1s' }", "set either `adaptive` or `fixed`"),
        ("linger = 5", "or { fixed = \"100ms\" } for linger"),
        ("linger = { filled = '1s' }", "or { fixed = \"100ms\" } for linger"),
        ("aggregation = 'shard'", "unknown variant `shard`, expected one of `off`, `per_key`"),
        ("max_in_flight = -1", "invalid value: integer `-1`, expected a number"),
        ("describe_stream = 1", "invalid type: integer `1`, expected true or false"),
    ] {
        let refused = refusal(text);
        assert!(refused.contains(expected), "{text}: {refused}");
    }
}

#[test]
fn out_of_range_error_names_setting() {
    let client = SimStream::new(1).client();
    for (text, expected) in [
        ("max_in_flight = 0", "max_in_flight is 0; set it between 1 and 1000"),
        ("linger = { fixed = '2m' }", "linger is 2m; set it between 0s and 1m"),
        ("limits.request_entries = 501", "limits.request_entries is 501; set it between 1 and 500"),
        ("aggregate_bytes = 0", "aggregate_bytes is 0B; set it between 1B and 10MiB"),
        ("deadline = '8days'", "deadline is 8d; set it between 1ms and 7d"),
        ("credentials_timeout = '8days'", "credentials_timeout is 8d; set it between 0s and 7d"),
        ("request_timeout = '0s'", "request_timeout is 0s; set it between 1ms and 10m"),
        ("max_request_timeout = '11m'", "max_request_timeout is 11m; set it between 1ms and 10m"),
    ] {
        let refused = builder().with_settings(read(text)).build(&client).unwrap_err();
        assert_eq!(refused.to_string(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn describe_stream_controls_lookup() {
    for (text, described) in
        [("", true), ("describe_stream = true", true), ("describe_stream = false", false)]
    {
        // The sink rejects aggregated records if a lookup reports this distribution.
        let stream = SimStream::builder().with_distribution(Distribution::Auto);
        let client = stream.build().unwrap().client();
        let builder = builder().with_settings(read(text)).with_aggregation(Aggregation::PerKey);
        let mut sink = builder.build(&client).unwrap();
        let refused = sink.send(Record::from("a record")).await.is_err();
        assert_eq!(refused, described, "{text}");
    }
}

#[test]
fn stream_id_round_trips_name_and_arn() {
    for text in ["clicks", "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"] {
        let quoted = format!("{text:?}");
        let stream: StreamId = serde_json::from_str(&quoted).unwrap();
        assert_eq!(stream, text.parse().unwrap());
        assert_eq!(serde_json::to_string(&stream).unwrap(), quoted);
    }
    let refused = serde_json::from_str::<StreamId>("\"a b\"").unwrap_err().to_string();
    assert!(refused.contains("`a b` is not a stream name"), "{refused}");
}
