//! Tests of the example `observe` and its Grafana dashboard.

#![cfg(all(feature = "aws-config", feature = "metrics"))]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Output;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use kinesis_sink::metrics::names;
use serde_json::Value;

use crate::support::example_program::example;

const DASHBOARD: &str = include_str!("../../docs/grafana.json");

/// Names of metrics without histogram suffixes, and the labels of each metric.
type Metrics = BTreeMap<String, BTreeSet<String>>;

fn without_suffix(name: &str) -> &str {
    let suffixes = ["_bucket", "_sum", "_count"];
    suffixes.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name)
}

fn observe(seconds: &str, arguments: &[&str]) -> (Output, Metrics) {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = example("observe");
    command.args(["--seconds", seconds, "--listen", &address.to_string()]).args(arguments);
    let process = thread::spawn(move || command.output().unwrap());
    let mut metrics = Metrics::new();
    while !process.is_finished() {
        thread::sleep(Duration::from_millis(300));
        metrics.extend(parse_metrics(&scrape(address).unwrap_or_default()));
    }
    (process.join().unwrap(), metrics)
}

fn scrape(address: SocketAddr) -> Option<String> {
    let mut connection = TcpStream::connect(address).ok()?;
    connection.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    connection.write_all(b"GET /metrics HTTP/1.0\r\nConnection: close\r\n\r\n").ok()?;
    let mut response = String::new();
    connection.read_to_string(&mut response).ok()?;
    Some(response)
}

fn parse_metrics(response: &str) -> Metrics {
    let mut metrics = Metrics::new();
    for line in response.lines().filter(|line| line.starts_with("kinesis_sink_")) {
        let (name, rest) = line.split_once('{').expect("every metric has a label");
        let (labels, _) = rest.split_once('}').expect("labels end with a brace");
        let labels = labels.split(',').filter_map(|label| label.split_once('='));
        let labels = labels.map(|(label, _)| label.to_owned()).filter(|label| label != "le");
        metrics.entry(without_suffix(name).to_owned()).or_default().extend(labels);
    }
    metrics
}

/// Returns the metrics of a spool, which the example does not use. The tests of the spool check that they are recorded.
fn spool_metrics() -> impl Iterator<Item = (String, BTreeSet<String>)> {
    let names = [
        names::SPOOL_BYTES,
        names::SPOOL_RECORDS,
        names::SPOOL_OLDEST_AGE,
        names::SPOOL_SYNC_DURATION,
        names::SPOOL_DAMAGED_FRAMES,
    ];
    names.into_iter().map(|name| (name.to_owned(), BTreeSet::from(["stream".to_owned()])))
}

fn queries(dashboard: &Value) -> Vec<&str> {
    let panels = dashboard["panels"].as_array().expect("a dashboard has panels").iter();
    let targets = panels.filter_map(|panel| panel["targets"].as_array()).flatten();
    targets.map(|target| target["expr"].as_str().expect("a target has a query")).collect()
}

fn words(query: &str) -> impl Iterator<Item = &str> {
    query.split(|character: char| !character.is_alphanumeric() && character != '_')
}

#[test]
fn dashboard_queries_all_metrics() {
    let (output, mut metrics) = observe("6", &[]);
    assert!(output.status.success(), "{output:?}");
    metrics.extend(spool_metrics());
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut queried = BTreeSet::new();
    for query in queries(&dashboard) {
        let names = words(query).filter(|word| word.starts_with("kinesis_sink_"));
        let names: Vec<_> = names.map(without_suffix).collect();
        for name in &names {
            assert!(metrics.contains_key(*name), "unknown metric {name}: {query}");
        }
        for labels in query.split(" by (").skip(1).filter_map(|rest| rest.split(')').next()) {
            // A query by shard must also name the stream, because shard IDs are not unique across streams.
            assert!(!labels.contains("shard") || labels.contains("stream"), "{query}");
            for label in labels.split(", ").filter(|label| *label != "le") {
                let known = names.iter().all(|name| metrics[*name].contains(label));
                assert!(known, "unknown label {label}: {query}");
            }
        }
        queried.extend(names.iter().map(ToString::to_string));
    }
    let exported: BTreeSet<_> = metrics.into_keys().collect();
    assert_eq!(queried, exported, "the dashboard queries all exported metrics");
}

#[test]
fn otlp_collector_receives_request_spans() {
    let spans: Arc<Mutex<Vec<Bytes>>> = Arc::default();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let received = spans.clone();
    let receive = move |body: Bytes| async move { received.lock().unwrap().push(body) };
    let app = Router::new().route("/v1/traces", post(receive));
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    runtime.spawn(async move { axum::serve(listener, app).await });

    let (output, _) = observe("3", &["--otlp", &url]);
    assert!(output.status.success(), "{output:?}");
    let spans = spans.lock().unwrap();
    for word in ["Kinesis.PutRecords", "aws.kinesis.stream_name", "kinesis-sink observe"] {
        let has = |body: &Bytes| contains(body, word.as_bytes());
        assert!(spans.iter().any(has), "no {word} in {} bodies", spans.len());
    }
}

fn contains(body: &[u8], word: &[u8]) -> bool {
    body.windows(word.len()).any(|window| window == word)
}

#[test]
fn picture_contains_key_panels() {
    let path = temporary_svg();
    let (output, _) = observe("3", &["--picture", &path]);
    assert!(output.status.success(), "{output:?}");
    let picture = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let titles = dashboard["panels"].as_array().unwrap().iter().map(|panel| &panel["title"]);
    let drawn = titles.filter(|title| picture.contains(title.as_str().unwrap()));
    assert!(drawn.count() >= 4, "the panels have the titles of the dashboard");
    assert!(picture.contains("shard 3"), "each shard has a line");
}

fn temporary_svg() -> String {
    let name = format!("kinesis-sink-observe-{}.svg", std::process::id());
    std::env::temp_dir().join(name).display().to_string()
}
