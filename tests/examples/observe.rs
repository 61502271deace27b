//! The example `observe`, and the dashboard for it: what one asks for, the other tells.

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
use serde_json::Value;

use crate::support::example_program::example;

const DASHBOARD: &str = include_str!("../../docs/grafana.json");

/// Names without the suffixes of histograms, with their labels.
type Names = BTreeMap<String, BTreeSet<String>>;

fn without_suffix(name: &str) -> &str {
    let suffixes = ["_bucket", "_sum", "_count"];
    suffixes.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name)
}

/// Runs the example for some seconds, and reads its metrics as Prometheus would until it ends.
fn observe(seconds: &str, arguments: &[&str]) -> (Output, Names) {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = example("observe");
    command.args(["--seconds", seconds, "--listen", &address.to_string()]).args(arguments);
    let ended = thread::spawn(move || command.output().unwrap());
    let mut names = Names::new();
    while !ended.is_finished() {
        thread::sleep(Duration::from_millis(300));
        names.extend(told(&scrape(address).unwrap_or_default()));
    }
    (ended.join().unwrap(), names)
}

/// None while nobody listens.
fn scrape(address: SocketAddr) -> Option<String> {
    let mut connection = TcpStream::connect(address).ok()?;
    connection.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    connection.write_all(b"GET /metrics HTTP/1.0\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).ok()?;
    Some(answer)
}

fn told(answer: &str) -> Names {
    let mut names = Names::new();
    for line in answer.lines().filter(|line| line.starts_with("kinesis_sink_")) {
        let (name, rest) = line.split_once('{').expect("every metric has a label");
        let (labels, _) = rest.split_once('}').expect("labels end");
        let labels = labels.split(',').filter_map(|label| label.split_once('='));
        let labels = labels.map(|(label, _)| label.to_owned()).filter(|label| label != "le");
        names.entry(without_suffix(name).to_owned()).or_default().extend(labels);
    }
    names
}

/// The queries of all panels.
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
    let (output, told) = observe("6", &[]);
    assert!(output.status.success(), "{output:?}");
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut asked = BTreeSet::new();
    for query in queries(&dashboard) {
        let names = words(query).filter(|word| word.starts_with("kinesis_sink_"));
        let names: Vec<_> = names.map(without_suffix).collect();
        for name in &names {
            assert!(told.contains_key(*name), "{name} is not told, but asked for: {query}");
        }
        for labels in query.split(" by (").skip(1).filter_map(|rest| rest.split(')').next()) {
            // Each stream has a first shard, called like all others.
            assert!(!labels.contains("shard") || labels.contains("stream"), "{query}");
            for label in labels.split(", ").filter(|label| *label != "le") {
                let known = names.iter().all(|name| told[*name].contains(label));
                assert!(known, "no label {label}: {query}");
            }
        }
        asked.extend(names.iter().map(ToString::to_string));
    }
    let told: BTreeSet<_> = told.into_keys().collect();
    assert_eq!(asked, told, "what is told is in the dashboard");
}

#[test]
fn otlp_collector_receives_request_spans() {
    let spans: Arc<Mutex<Vec<Bytes>>> = Arc::default();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let kept = spans.clone();
    let keep = move |body: Bytes| async move { kept.lock().unwrap().push(body) };
    let app = Router::new().route("/v1/traces", post(keep));
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
    let folder = tempfile();
    let (output, _) = observe("3", &["--picture", &folder]);
    assert!(output.status.success(), "{output:?}");
    let picture = std::fs::read_to_string(&folder).unwrap();
    std::fs::remove_file(&folder).unwrap();
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let titles = dashboard["panels"].as_array().unwrap().iter().map(|panel| &panel["title"]);
    let drawn = titles.filter(|title| picture.contains(title.as_str().unwrap()));
    assert!(drawn.count() >= 4, "the panels are called like those of the dashboard");
    assert!(picture.contains("shard 3"), "each shard has a line");
}

fn tempfile() -> String {
    let name = format!("kinesis-sink-observe-{}.svg", std::process::id());
    std::env::temp_dir().join(name).display().to_string()
}
