//! Tests that deserialize `Settings` from files and environment variables, and the errors for invalid values.

use std::collections::BTreeMap;
use std::time::Duration;

use kinesis_sink::limits::Limits;
use kinesis_sink::settings::{BackoffSettings, Linger};
use kinesis_sink::sim::SimStream;
use kinesis_sink::{Aggregation, BuildError, KinesisSink, Settings, StreamId};
use serde::Deserialize;
use serde::de::value::MapDeserializer;
use serde_json::{Value, json};
use tracing::Level;

use crate::support::logs::Logs;

const MIB: usize = 1024 * 1024;

#[derive(Debug, Deserialize)]
struct Config {
    stream: StreamId,
    #[serde(default)]
    sink: Settings,
}

fn expected() -> Settings {
    let mut settings = Settings::default();
    settings.limits = Limits::default()
        .with_request_entries(400)
        .with_request_bytes(10 * MIB)
        .with_record_bytes(2 * MIB)
        .with_shard_records(10_000)
        .with_shard_bytes(512 * 1024);
    settings.max_in_flight = 8;
    settings.linger = Duration::from_millis(100).into();
    settings.aggregation = Aggregation::PerKey;
    settings.aggregate_bytes = 75 * 1024;
    settings.aggregate_records = 10_000;
    settings.describe_stream = false;
    settings.buffer_records = Some(5_000);
    settings.buffer_bytes = 32 * MIB;
    settings.backoff.base = Duration::from_millis(50);
    settings.backoff.ceiling = Duration::from_secs(5);
    settings.max_attempts = Some(100);
    settings.deadline = Some(Duration::from_secs(5_400));
    settings.credentials_timeout = Duration::from_secs(60);
    settings.request_timeout = Duration::from_secs(5);
    settings.max_request_timeout = Duration::from_secs(20);
    settings.seed = Some(7);
    settings
}

const TOML: &str = r#"
    stream = "clicks"

    [sink]
    max_in_flight = 8
    linger = "100ms"
    aggregation = "per_key"
    aggregate_bytes = "75 KiB"
    aggregate_records = 10_000
    describe_stream = false
    buffer_records = 5_000
    buffer_bytes = "32MiB"
    backoff = { base = "50ms", ceiling = "5s" }
    max_attempts = 100
    deadline = "1h 30m"
    credentials_timeout = "1m"
    request_timeout = "5s"
    max_request_timeout = "20s"
    seed = 7

    [sink.limits]
    request_entries = 400
    request_bytes = "10MiB"
    record_bytes = "2MiB"
    shard_records = 10_000
    shard_bytes = "512KiB"
"#;

const JSON: &str = r#"{
    "stream": "clicks",
    "sink": {
        "limits": {
            "request_entries": 400,
            "request_bytes": 10485760,
            "record_bytes": "2MiB",
            "shard_records": 10000,
            "shard_bytes": "512KiB"
        },
        "max_in_flight": 8,
        "linger": "100ms",
        "aggregation": "per_key",
        "aggregate_bytes": "75KiB",
        "aggregate_records": 10000,
        "describe_stream": false,
        "buffer_records": 5000,
        "buffer_bytes": "32MiB",
        "backoff": { "base": "50ms", "ceiling": "5s" },
        "max_attempts": 100,
        "deadline": "1h 30m",
        "credentials_timeout": "1m",
        "request_timeout": "5s",
        "max_request_timeout": "20s",
        "seed": 7
    }
}"#;

const ENVIRONMENT: [(&str, &str); 23] = [
    ("STREAM", "clicks"),
    ("SINK__MAX_IN_FLIGHT", "8"),
    ("SINK__LINGER", "100ms"),
    ("SINK__AGGREGATION", "per_key"),
    ("SINK__AGGREGATE_BYTES", "76_800"),
    ("SINK__AGGREGATE_RECORDS", "10_000"),
    ("SINK__DESCRIBE_STREAM", "false"),
    ("SINK__BUFFER_RECORDS", "5000"),
    ("SINK__BUFFER_BYTES", "32MiB"),
    ("SINK__BACKOFF__BASE", "50ms"),
    ("SINK__BACKOFF__CEILING", "5s"),
    ("SINK__MAX_ATTEMPTS", "100"),
    ("SINK__DEADLINE", "1h 30m"),
    ("SINK__CREDENTIALS_TIMEOUT", "1m"),
    ("SINK__REQUEST_TIMEOUT", "5s"),
    ("SINK__MAX_REQUEST_TIMEOUT", "20s"),
    ("SINK__SEED", "7"),
    ("SINK__LIMITS__REQUEST_ENTRIES", "400"),
    ("SINK__LIMITS__REQUEST_BYTES", "10MiB"),
    ("SINK__LIMITS__RECORD_BYTES", "2MiB"),
    ("SINK__LIMITS__SHARD_RECORDS", "10000"),
    ("SINK__LIMITS__SHARD_BYTES", "524288"),
    ("SINK__FATAL_POLICY", "stop"),
];

/// Splits names at `__` and treats all values as strings, like the crates `config` and `figment`.
fn read_environment(variables: &[(&str, &str)]) -> serde_json::Result<Config> {
    let mut root = json!({});
    for (name, value) in variables {
        let place = name.split("__").fold(&mut root, |table, key| &mut table[key.to_lowercase()]);
        *place = Value::from(*value);
    }
    serde_json::from_value(root)
}

fn read(sink: Value) -> Settings {
    serde_json::from_value(sink).unwrap()
}

fn refusal(sink: Value) -> String {
    serde_json::from_value::<Settings>(sink).unwrap_err().to_string()
}

fn build(settings: Settings) -> Result<KinesisSink, BuildError> {
    KinesisSink::builder("clicks").with_settings(settings).build(&SimStream::new(1).client())
}

fn build_error(sink: Value) -> String {
    build(read(sink)).unwrap_err().to_string()
}

#[test]
fn toml_file_sets_everything() {
    let config: Config = toml::from_str(TOML).unwrap();
    assert_eq!(config.stream.name(), "clicks");
    assert_eq!(config.sink, expected());
}

#[test]
fn json_file_sets_everything() {
    let config: Config = serde_json::from_str(JSON).unwrap();
    assert_eq!(config.sink, expected());
}

#[test]
fn environment_sets_everything() {
    let config = read_environment(&ENVIRONMENT).unwrap();
    assert_eq!(config.stream.name(), "clicks");
    assert_eq!(config.sink, expected());
}

#[test]
fn flat_map_of_strings_is_parsed() {
    let variables = BTreeMap::from([
        ("buffer_bytes", "64MiB"),
        ("buffer_records", "20000"),
        ("deadline", "1h"),
        ("describe_stream", "true"),
        ("linger", "1s"),
        ("max_attempts", "3"),
        ("ordering", "per_key"),
    ]);
    type Error = serde::de::value::Error;
    let variables = MapDeserializer::<_, Error>::new(variables.into_iter());
    let settings = Settings::deserialize(variables).unwrap();
    assert_eq!(settings.buffer_bytes, 64 * MIB);
    assert_eq!(settings.buffer_records, Some(20_000));
    assert_eq!(settings.deadline, Some(Duration::from_secs(3_600)));
    assert_eq!(settings.linger, Linger::Auto(Duration::from_secs(1)));
    assert_eq!(settings.max_attempts, Some(3));
}

#[test]
fn sizes_are_parsed_in_every_unit() {
    for (text, bytes) in [
        ("33554432", 32 * MIB),
        ("33_554_432", 32 * MIB),
        ("32MiB", 32 * MIB),
        ("32 MiB", 32 * MIB),
        (" 32mib ", 32 * MIB),
        ("512 KiB", 512 * 1024),
        ("1.5KiB", 1_536),
        ("5MB", 5_000_000),
        ("5 kB", 5_000),
        ("1GiB", 1024 * MIB),
        ("7B", 7),
    ] {
        assert_eq!(read(json!({ "buffer_bytes": text })).buffer_bytes, bytes, "{text}");
    }
}

#[test]
fn linger_is_parsed_in_each_mode() {
    let second = Duration::from_secs(1);
    for (value, linger) in [
        (json!("1s"), Linger::Auto(second)),
        (json!({ "adaptive": "1s" }), Linger::Adaptive(second)),
        (json!({ "fixed": "1s" }), Linger::Fixed(second)),
    ] {
        assert_eq!(read(json!({ "linger": value })).linger, linger);
        let text = format!("linger = {}", toml::Value::try_from(&value).unwrap());
        assert_eq!(toml::from_str::<Settings>(&text).unwrap().linger, linger);
    }
    let fixed = read_environment(&[("STREAM", "clicks"), ("SINK__LINGER__FIXED", "1s")]).unwrap();
    assert_eq!(fixed.sink.linger, Linger::Fixed(second));
}

#[test]
fn null_keeps_default_value() {
    let optional = ["buffer_records", "max_attempts", "deadline", "seed"];
    for key in optional {
        assert_eq!(read(json!({ key: null })), Settings::default(), "{key}");
    }
    assert_eq!(read(json!({ "limits": { "record_bytes": null } })), Settings::default());
}

#[test]
fn serialized_settings_are_parsed_back() {
    let settings = expected();
    let written = serde_json::to_value(&settings).unwrap();
    assert_eq!(written["buffer_bytes"], 32 * MIB);
    assert_eq!(written["deadline"], "1h 30m");
    assert_eq!(written["limits"]["record_bytes"], 2 * MIB);
    assert_eq!(written["describe_stream"], false);
    assert_eq!(read(written), settings);
    let written = toml::to_string(&settings).unwrap();
    assert_eq!(toml::from_str::<Settings>(&written).unwrap(), settings);
}

#[test]
fn invalid_value_names_its_setting() {
    const SIZE: &str = "expected a size such as \"32MiB\", or a number of bytes";
    const NUMBER: &str = "expected a number such as 8 or \"8\"";
    const DURATION: &str = "expected a duration such as \"100ms\" or \"1h 30m\"";
    for (sink, expected) in [
        (
            json!({ "buffer_bytes": "lots" }),
            format!("invalid value: string \"lots\", {SIZE} for buffer_bytes"),
        ),
        (
            json!({ "limits": { "record_bytes": "-1MiB" } }),
            format!("invalid value: string \"-1MiB\", {SIZE} for limits.record_bytes"),
        ),
        (
            json!({ "max_in_flight": "four" }),
            format!("invalid value: string \"four\", {NUMBER} for max_in_flight"),
        ),
        (
            json!({ "max_attempts": 4_294_967_296_u64 }),
            format!("invalid value: integer `4294967296`, {NUMBER} for max_attempts"),
        ),
        (
            json!({ "backoff": { "base": "5" } }),
            format!("invalid value: string \"5\", {DURATION} for backoff.base"),
        ),
        (
            json!({ "request_timeout": 10 }),
            format!("invalid type: integer `10`, {DURATION} for request_timeout"),
        ),
        (
            json!({ "describe_stream": "yes" }),
            "invalid value: string \"yes\", expected true or false for describe_stream".to_owned(),
        ),
        (
            json!({ "linger": "soon" }),
            "expected a duration such as \"100ms\", { adaptive = \"100ms\" } or \
             { fixed = \"100ms\" } for linger"
                .to_owned(),
        ),
    ] {
        assert_eq!(refusal(sink), expected);
    }
    let error =
        toml::from_str::<Config>("stream = 'a'\n[sink]\nbuffer_bytes = 'lots'").unwrap_err();
    assert!(error.to_string().contains("3 | buffer_bytes = 'lots'"), "{error}");
}

#[test]
fn invalid_stream_name_is_rejected() {
    let error = read_environment(&[("STREAM", "a b")]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`a b` is not a stream name: use 1 to 128 letters, digits, `_`, `.` or `-`, or an ARN"
    );
}

#[test]
fn range_error_names_path_value_and_range() {
    for (sink, expected) in [
        (
            json!({ "limits": { "request_entries": 501 } }),
            "limits.request_entries is 501; set it between 1 and 500",
        ),
        (
            json!({ "limits": { "record_bytes": "11MiB" } }),
            "limits.record_bytes is 11MiB; set it between 1B and 10MiB",
        ),
        (json!({ "buffer_bytes": 0 }), "buffer_bytes is 0B; set it between 1B and 1TiB"),
        (json!({ "backoff": { "base": "0s" } }), "backoff.base is 0s; set it between 1ms and 1m"),
        (json!({ "linger": "1h 30m" }), "linger is 1h 30m; set it between 0s and 1m"),
        (json!({ "deadline": "8d 1ms" }), "deadline is 8d 1ms; set it between 1ms and 7d"),
    ] {
        assert_eq!(build_error(sink), expected);
    }
}

#[test]
fn conflict_names_changed_setting_first() {
    for (sink, expected) in [
        (
            json!({ "limits": { "record_bytes": "10MiB" } }),
            "limits.record_bytes is 10MiB, more than limits.request_bytes (5MiB): raise \
             limits.request_bytes or lower limits.record_bytes",
        ),
        (
            json!({ "limits": { "request_bytes": "512KiB" } }),
            "limits.request_bytes is 512KiB, less than limits.record_bytes (1MiB): raise \
             limits.request_bytes or lower limits.record_bytes",
        ),
        (
            json!({ "backoff": { "base": "1m" } }),
            "backoff.base is 1m, more than backoff.ceiling (3s): raise backoff.ceiling or lower \
             backoff.base",
        ),
        (
            json!({ "backoff": { "ceiling": "10ms" } }),
            "backoff.ceiling is 10ms, less than backoff.base (100ms): raise backoff.ceiling or \
             lower backoff.base",
        ),
    ] {
        assert_eq!(build_error(sink), expected);
    }
}

#[test]
fn build_error_has_setting_path() {
    let mut settings = Settings::default();
    let mut backoff = BackoffSettings::default();
    backoff.base = Duration::from_secs(60);
    settings.backoff = backoff;
    let error = build(settings).unwrap_err();
    assert_eq!(error.setting(), Some("backoff.base"));
    assert!(matches!(error, BuildError::Conflict { other, .. } if other == "backoff.ceiling"));
    let error = KinesisSink::builder("a b").build(&SimStream::new(1).client()).unwrap_err();
    assert_eq!(error.setting(), None);
}

#[test]
fn build_warns_if_requests_cannot_be_full() {
    let warnings = |sink: Value| {
        let logs = Logs::listen(Level::WARN);
        build(read(sink)).unwrap();
        logs.with("WARN")
    };
    for (sink, expected) in [
        (
            json!({ "buffer_bytes": "1MiB" }),
            "requests to stream clicks cannot be full: buffer_bytes is 1MiB, less than \
             limits.request_bytes (5MiB): raise buffer_bytes or lower limits.request_bytes",
        ),
        (
            json!({ "buffer_records": 100 }),
            "requests to stream clicks cannot be full: buffer_records is 100, less than \
             limits.request_entries (500): raise buffer_records or lower limits.request_entries",
        ),
    ] {
        let lines = warnings(sink);
        assert!(lines.len() == 1 && lines[0].contains(expected), "{lines:?}");
    }
    for sink in [
        json!({}),
        json!({ "buffer_records": 500, "buffer_bytes": "5MiB" }),
        json!({ "buffer_records": 100, "limits": { "request_entries": 100 } }),
        json!({ "buffer_records": 100, "aggregation": "per_key" }),
    ] {
        assert_eq!(warnings(sink), [""; 0]);
    }
}
