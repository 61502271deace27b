//! Tests that deserialize `RouterSettings` from files and environment variables, and the errors for invalid values.

use std::collections::BTreeSet;
use std::time::Duration;

use kinesis_sink::limits::Limits;
use kinesis_sink::router::{RouterSettings, WhenFull};
use kinesis_sink::settings::Linger;
use kinesis_sink::{Aggregation, RecordOrdering, Settings, StreamId};
use serde_json::{Value, json};

const MIB: usize = 1024 * 1024;
const ARN: &str = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks";

fn expected() -> RouterSettings {
    let mut settings = RouterSettings::default();
    settings.budget.buffer_records = 50_000;
    settings.budget.buffer_bytes = 32 * MIB;
    settings.budget.max_in_flight = 64;
    settings.idle_timeout = Duration::from_secs(90);
    settings.max_streams = 500;
    settings.when_full = WhenFull::Reject;
    let defaults = &mut settings.defaults;
    defaults.max_attempts = Some(100);
    defaults.linger = Linger::Fixed(Duration::from_millis(50));
    defaults.limits = Limits::default()
        .with_request_bytes(2 * MIB)
        .with_record_bytes(MIB)
        .with_shard_records(500);
    defaults.backoff.base = Duration::from_millis(10);

    let mut clicks = defaults.clone();
    clicks.aggregation = Aggregation::PerKey;
    clicks.describe_stream = false;
    clicks.limits = clicks.limits.with_record_bytes(512 * 1024);
    clicks.backoff.ceiling = Duration::from_secs(1);
    let mut orders = defaults.clone();
    orders.ordering = RecordOrdering::PerKey;
    orders.max_attempts = None;
    orders.linger = Linger::Adaptive(Duration::from_millis(20));
    settings.streams = [("clicks", clicks), ("orders", orders)].map(with_id).into();
    settings
}

fn with_id<T>((stream, value): (&str, T)) -> (StreamId, T) {
    (stream.parse().unwrap(), value)
}

const TOML: &str = r#"
    idle_timeout = "1m 30s"
    max_streams = 500
    when_full = "reject"

    # The streams precede the defaults.
    [streams.clicks]
    aggregation = "per_key"
    describe_stream = false
    limits = { record_bytes = "512KiB" }
    backoff = { ceiling = "1s" }

    [streams.orders]
    ordering = "per_key"
    max_attempts = "none"
    linger = { adaptive = "20ms" }

    [budget]
    buffer_records = 50_000
    buffer_bytes = "32MiB"
    max_in_flight = 64

    [defaults]
    max_attempts = 100
    linger = { fixed = "50ms" }
    backoff.base = "10ms"

    [defaults.limits]
    request_bytes = "2MiB"
    record_bytes = "1MiB"
    shard_records = 500
"#;

const JSON: &str = r#"{
    "idle_timeout": "1m 30s",
    "max_streams": 500,
    "when_full": "reject",
    "streams": {
        "clicks": {
            "aggregation": "per_key",
            "describe_stream": false,
            "limits": { "record_bytes": 524288 },
            "backoff": { "ceiling": "1s" }
        },
        "orders": {
            "ordering": "per_key",
            "max_attempts": null,
            "linger": { "adaptive": "20ms" }
        }
    },
    "budget": { "buffer_records": 50000, "buffer_bytes": "32MiB", "max_in_flight": 64 },
    "defaults": {
        "max_attempts": 100,
        "linger": { "fixed": "50ms" },
        "backoff": { "base": "10ms" },
        "limits": { "request_bytes": 2097152, "record_bytes": "1MiB", "shard_records": 500 }
    }
}"#;

const ENVIRONMENT: [(&str, &str); 18] = [
    ("IDLE_TIMEOUT", "90s"),
    ("MAX_STREAMS", "500"),
    ("WHEN_FULL", "reject"),
    ("BUDGET__BUFFER_RECORDS", "50_000"),
    ("BUDGET__BUFFER_BYTES", "32MiB"),
    ("BUDGET__MAX_IN_FLIGHT", "64"),
    ("DEFAULTS__MAX_ATTEMPTS", "100"),
    ("DEFAULTS__LINGER__FIXED", "50ms"),
    ("DEFAULTS__BACKOFF__BASE", "10ms"),
    ("DEFAULTS__LIMITS__REQUEST_BYTES", "2MiB"),
    ("DEFAULTS__LIMITS__RECORD_BYTES", "1048576"),
    ("DEFAULTS__LIMITS__SHARD_RECORDS", "500"),
    ("STREAMS__CLICKS__AGGREGATION", "per_key"),
    ("STREAMS__CLICKS__DESCRIBE_STREAM", "false"),
    ("STREAMS__CLICKS__LIMITS__RECORD_BYTES", "512KiB"),
    ("STREAMS__CLICKS__BACKOFF__CEILING", "1s"),
    ("STREAMS__ORDERS__ORDERING", "per_key"),
    ("STREAMS__ORDERS__MAX_ATTEMPTS", "none"),
];

/// Splits names at `__` and treats all values as strings, like the crates `config` and `figment`.
fn environment(variables: &[(&str, &str)]) -> Value {
    let mut root = json!({});
    for (name, value) in variables {
        let place = name.split("__").fold(&mut root, |table, key| &mut table[key.to_lowercase()]);
        *place = Value::from(*value);
    }
    root
}

fn read(settings: Value) -> RouterSettings {
    serde_json::from_value(settings).unwrap()
}

fn refusal(settings: Value) -> String {
    serde_json::from_value::<RouterSettings>(settings).unwrap_err().to_string()
}

fn settings_of<'a>(settings: &'a RouterSettings, stream: &str) -> &'a Settings {
    settings.settings_of(&stream.parse().unwrap())
}

#[test]
fn file_overlays_defaults_per_stream() {
    assert_eq!(toml::from_str::<RouterSettings>(TOML).unwrap(), expected());
    assert_eq!(serde_json::from_str::<RouterSettings>(JSON).unwrap(), expected());
}

#[test]
fn environment_overlays_defaults_per_stream() {
    let mut root = environment(&ENVIRONMENT);
    root["streams"]["orders"]["linger"] = environment(&[("ADAPTIVE", "20ms")]);
    assert_eq!(read(root), expected());
}

#[test]
fn empty_file_means_defaults() {
    assert_eq!(toml::from_str::<RouterSettings>("").unwrap(), RouterSettings::default());
    assert_eq!(RouterSettings::default().validate(), Ok(()));
}

#[test]
fn empty_stream_table_inherits_defaults() {
    let settings = read(json!({ "defaults": { "max_in_flight": 8 }, "streams": { "clicks": {} } }));
    assert_eq!(settings.streams.len(), 1);
    assert_eq!(settings_of(&settings, "clicks"), &settings.defaults);
    assert_eq!(settings.defaults.max_in_flight, 8);
    let settings = read(json!({ "streams": { "clicks": { "max_in_flight": 8 } } }));
    assert_eq!(settings_of(&settings, "clicks").max_in_flight, 8);
    assert_eq!(settings.defaults, Settings::default());
}

/// Settings in which every key has a value other than the default.
fn changed_settings() -> Value {
    json!({
        "limits": {
            "request_entries": 400, "request_bytes": 10_485_760, "record_bytes": 2_097_152,
            "shard_records": 500, "shard_bytes": 524_288
        },
        "max_in_flight": 8, "linger": { "fixed": "1s 500ms" }, "aggregation": "per_shard",
        "aggregate_bytes": 25_600, "aggregate_records": 1_000, "aggregate_key": "kpl",
        "ordering": "per_key", "describe_stream": false, "buffer_records": 5_000,
        "buffer_bytes": 134_217_728, "backoff": { "base": "50ms", "ceiling": "10s" },
        "max_attempts": 100, "deadline": "1h", "credentials_timeout": "1m", "request_timeout": "30s",
        "max_request_timeout": "1m", "fatal_policy": "retry", "metrics": "stream", "seed": 7
    })
}

/// Returns the path of each value, such as `limits.record_bytes`. A linger is one value.
fn paths(settings: &Value) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    for (key, value) in settings.as_object().unwrap() {
        match value {
            Value::Object(table) if key != "linger" => {
                paths.extend(table.keys().map(|nested| format!("{key}.{nested}")));
            }
            _ => drop(paths.insert(key.clone())),
        }
    }
    paths
}

fn value_at<'a>(settings: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(settings, |table, key| &table[key])
}

fn only(path: &str, value: &Value) -> Value {
    path.rsplit('.').fold(value.clone(), |value, key| json!({ key: value }))
}

#[test]
fn every_key_overlays_defaults_alone() {
    let changed = changed_settings();
    let mut changed = changed.clone();
    if !cfg!(feature = "metrics") {
        changed.as_object_mut().unwrap().remove("metrics");
    }
    let standard = serde_json::to_value(Settings::default()).unwrap();
    let keys = paths(&changed);
    assert_eq!(keys, paths(&standard), "add the new key to `changed_settings`");
    for path in &keys {
        // The stream changes one key of the defaults, or inherits one changed key from them.
        for (defaults, stream, is_changed) in [
            (standard.clone(), only(path, value_at(&changed, path)), true),
            (changed.clone(), only(path, value_at(&standard, path)), false),
        ] {
            let settings = read(json!({ "defaults": defaults, "streams": { "clicks": stream } }));
            let clicks = serde_json::to_value(settings_of(&settings, "clicks")).unwrap();
            for other in &keys {
                let expected = if (other == path) == is_changed { &changed } else { &standard };
                let [value, expected] = [&clicks, expected].map(|from| value_at(from, other));
                assert_eq!(value, expected, "{other} when the stream sets {path}");
            }
        }
    }
}

#[test]
fn serialized_form_is_parsed_back() {
    let mut settings = expected();
    settings.streams.insert(ARN.parse().unwrap(), Settings::default());
    // Optional settings that only the defaults set.
    settings.defaults.deadline = Some(Duration::from_secs(60));
    settings.defaults.buffer_records = Some(7);
    settings.defaults.seed = Some(7);
    let written = toml::to_string(&settings).unwrap();
    assert_eq!(toml::from_str::<RouterSettings>(&written).unwrap(), settings, "{written}");
    let written = serde_json::to_string(&settings).unwrap();
    assert_eq!(serde_json::from_str::<RouterSettings>(&written).unwrap(), settings);
    for when_full in [WhenFull::Evict, WhenFull::Reject] {
        settings.when_full = when_full;
        assert_eq!(read(serde_json::to_value(&settings).unwrap()), settings);
    }
}

#[test]
fn settings_of_arn_prefer_arn_to_name() {
    let settings = read(json!({
        "streams": {
            "clicks": { "max_in_flight": 1 },
            (ARN): { "max_in_flight": 2 },
            "arn:aws:kinesis:eu-west-1:123456789012:stream/orders": { "max_in_flight": 3 },
        }
    }));
    let other_account = ARN.replace("123456789012", "210987654321");
    for (stream, max_in_flight) in [
        ("clicks", 1),
        (ARN, 2),
        (&other_account, 1),
        ("orders", 4),
        ("arn:aws:kinesis:eu-west-1:123456789012:stream/orders", 3),
    ] {
        assert_eq!(settings_of(&settings, stream).max_in_flight, max_in_flight, "{stream}");
    }
}

#[test]
fn invalid_value_names_full_path() {
    const SIZE: &str = "expected a size such as \"32MiB\", or a number of bytes";
    const NUMBER: &str = "expected a number such as 8 or \"8\"";
    const DURATION: &str = "expected a duration such as \"100ms\" or \"1h 30m\"";
    let stream = |stream| json!({ "streams": { "clicks": stream } });
    for (settings, expected) in [
        (
            stream(json!({ "limits": { "record_bytes": "lots" } })),
            format!(
                "invalid value: string \"lots\", {SIZE} for streams.clicks.limits.record_bytes"
            ),
        ),
        (
            json!({ "streams": { "a.b": { "deadline": 5 } } }),
            format!("invalid type: integer `5`, {DURATION} for streams.\"a.b\".deadline"),
        ),
        (
            json!({ "streams": { (ARN): { "max_in_flight": 1.5 } } }),
            format!(
                "invalid type: floating point `1.5`, {NUMBER} for streams.\"{ARN}\".max_in_flight"
            ),
        ),
        (
            stream(json!({ "linger": "soon" })),
            "expected a duration such as \"100ms\", { adaptive = \"100ms\" } or \
             { fixed = \"100ms\" } for streams.clicks.linger"
                .to_owned(),
        ),
        (
            stream(json!({ "aggregation": "shard" })),
            "streams.clicks.aggregation: unknown variant `shard`, expected one of `off`, \
             `per_key`, `per_shard`"
                .to_owned(),
        ),
        (
            stream(json!({ "ordering": ["per_key"] })),
            "streams.clicks.ordering: invalid type: sequence, expected a string".to_owned(),
        ),
        (
            stream(json!({ "max_in_flight": null })),
            format!("invalid type: unit value, {NUMBER} for streams.clicks.max_in_flight"),
        ),
        (
            json!({ "defaults": { "buffer_bytes": "-1" }, "streams": { "clicks": {} } }),
            format!("invalid value: string \"-1\", {SIZE} for defaults.buffer_bytes"),
        ),
        (
            json!({ "budget": { "buffer_records": -1 } }),
            format!("invalid value: integer `-1`, {NUMBER} for budget.buffer_records"),
        ),
        (
            json!({ "idle_timeout": 300 }),
            format!("invalid type: integer `300`, {DURATION} for idle_timeout"),
        ),
        (
            json!({ "streams": { "a b": {} } }),
            "streams: `a b` is not a stream name: use 1 to 128 letters, digits, `_`, `.` or `-`, \
             or an ARN"
                .to_owned(),
        ),
    ] {
        assert_eq!(refusal(settings), expected);
    }
    let error = toml::from_str::<RouterSettings>("[streams.clicks]\nseed = 'x'").unwrap_err();
    assert!(error.to_string().contains("for streams.clicks.seed"), "{error}");
}

#[test]
fn unknown_key_error_names_table() {
    for (settings, expected) in [
        (json!({ "max_stream": 1 }), "unknown field `max_stream`, expected one of `budget`"),
        (
            json!({ "budget": { "bytes": 1 } }),
            "budget: unknown field `bytes`, expected one of `buffer_records`",
        ),
        (
            json!({ "defaults": { "max_inflight": 1 }, "streams": { "clicks": {} } }),
            "defaults: unknown field `max_inflight`, expected one of `limits`",
        ),
        (
            json!({ "streams": { "clicks": { "limits": { "shard_record": 1 } } } }),
            "streams.clicks.limits: unknown field `shard_record`, expected one of",
        ),
    ] {
        let refused = refusal(settings);
        assert!(refused.starts_with(expected), "{refused}");
    }
}

#[test]
fn wrong_table_type_is_rejected() {
    for (settings, expected) in [
        (json!({ "defaults": 5 }), "defaults: invalid type: integer `5`, expected struct Settings"),
        (json!({ "streams": ["clicks"] }), "streams: invalid type: sequence, expected a map"),
        (
            json!({ "defaults": { "limits": 5 }, "streams": { "clicks": { "limits": {} } } }),
            "defaults.limits: invalid type: integer `5`, expected struct Limits",
        ),
        (json!("x"), "invalid type: string \"x\", expected struct RouterSettings"),
    ] {
        assert_eq!(refusal(settings), expected);
    }
    let twice = serde_json::from_str::<RouterSettings>(r#"{"max_streams": 1, "max_streams": 2}"#);
    assert!(twice.unwrap_err().to_string().starts_with("duplicate field `max_streams`"));
}

#[test]
fn range_error_names_full_path() {
    for (settings, path, expected) in [
        (
            json!({ "idle_timeout": "999ms" }),
            "idle_timeout",
            "idle_timeout is 999ms; set it between 1s and 7d",
        ),
        (
            json!({ "idle_timeout": "7d 1s" }),
            "idle_timeout",
            "idle_timeout is 7d 1s; set it between 1s and 7d",
        ),
        (
            json!({ "max_streams": 0 }),
            "max_streams",
            "max_streams is 0; set it between 1 and 1000000",
        ),
        (
            json!({ "budget": { "max_in_flight": 0 } }),
            "budget.max_in_flight",
            "budget.max_in_flight is 0; set it between 1 and 100000",
        ),
        (
            json!({ "defaults": { "max_in_flight": 0 }, "streams": { "clicks": {} } }),
            "defaults.max_in_flight",
            "defaults.max_in_flight is 0; set it between 1 and 1000",
        ),
        (
            json!({ "streams": { "clicks": { "max_in_flight": 1_001 } } }),
            "streams.clicks.max_in_flight",
            "streams.clicks.max_in_flight is 1001; set it between 1 and 1000",
        ),
        (
            json!({
                "defaults": { "backoff": { "base": "2s" } },
                "streams": { "a.b": { "backoff": { "ceiling": "1s" } } },
            }),
            "streams.\"a.b\".backoff.base",
            "streams.\"a.b\".backoff.base is 2s, more than streams.\"a.b\".backoff.ceiling (1s): \
             raise streams.\"a.b\".backoff.ceiling or lower streams.\"a.b\".backoff.base",
        ),
    ] {
        let error = read(settings).validate().unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.setting(), Some(path));
    }
    for settings in [
        json!({ "idle_timeout": "1s", "max_streams": 1 }),
        json!({ "idle_timeout": "7d", "max_streams": 1_000_000 }),
    ] {
        assert_eq!(read(settings).validate(), Ok(()));
    }
}

#[cfg(feature = "metrics")]
#[test]
fn metric_streams_range_is_checked() {
    assert_eq!(RouterSettings::default().metric_streams, 100);
    for metric_streams in [json!(0), json!("10_000")] {
        assert_eq!(read(json!({ "metric_streams": metric_streams })).validate(), Ok(()));
    }
    let error = read(json!({ "metric_streams": 10_001 })).validate().unwrap_err();
    assert_eq!(error.to_string(), "metric_streams is 10001; set it between 0 and 10000");
}
