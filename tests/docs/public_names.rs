//! Tests of the size and the names of the public API.

use kinesis_sink::sim::SimStream;
use kinesis_sink::{BuildError, KinesisSink, SinkBuilder, StreamId};

/// List of the public API, generated and checked by `.ci/api`.
const API: &str = include_str!("../../docs/api.txt");

#[test]
fn builder_accepts_stream_in_any_form() {
    let client = SimStream::new(1).client();
    let parsed: StreamId = "clicks".parse().unwrap();
    let text = String::from("clicks");
    let builders: [SinkBuilder; 5] = [
        KinesisSink::builder("clicks"),
        KinesisSink::builder(String::from("clicks")),
        KinesisSink::builder(&text),
        KinesisSink::builder(&parsed),
        KinesisSink::builder(parsed.clone()),
    ];
    for builder in builders {
        assert_eq!(builder.build(&client).unwrap().stream(), &parsed);
    }
    let error: BuildError = KinesisSink::builder("no such/name").build(&client).unwrap_err();
    assert!(error.to_string().contains("no such/name"), "{error}");
}

#[test]
fn builder_can_be_cloned() {
    let client = SimStream::new(1).client();
    let builder = KinesisSink::builder("clicks")
        .with_max_in_flight(2)
        .with_dead_letters(|lost| eprintln!("{}", lost.reason()));
    let sinks = [builder.clone().build(&client).unwrap(), builder.build(&client).unwrap()];
    assert_eq!(sinks[0].stream(), sinks[1].stream());
}

#[test]
fn sink_is_small_send_and_sync() {
    fn is_shared<T: Send + Sync + Unpin>(_: &T) {}
    let sink = KinesisSink::new(&SimStream::new(1).client(), "clicks").unwrap();
    is_shared(&sink);
    assert!(size_of_val(&sink) < 256, "{}", size_of_val(&sink));
}

fn count_after(text: &str) -> usize {
    let number = API.split(text).nth(1).expect(text);
    number
        .split(|c: char| !c.is_ascii_digit())
        .find(|part| !part.is_empty())
        .unwrap()
        .parse()
        .unwrap()
}

#[test]
fn api_size_stays_in_range() {
    let (names, modules) = (count_after("names at the root: "), count_after(", and "));
    assert!((10..=33).contains(&(names + modules)), "{names} names, {modules} modules");
    assert!((5..=18).contains(&count_after("methods of SinkBuilder: ")));
    assert!((4..=9).contains(&count_after("types that implement std::error::Error: ")));
}

#[test]
fn features_have_expected_names() {
    let manifest: toml::Table = include_str!("../../Cargo.toml").parse().unwrap();
    let features = manifest["features"].as_table().unwrap();
    let names: Vec<_> = features.keys().map(String::as_str).collect();
    assert_eq!(names, ["aws-config", "cbor", "default", "metrics", "serde", "sim", "spool"]);
    let default = features["default"].as_array().unwrap();
    assert!(default.iter().map(|name| name.as_str().unwrap()).eq(["aws-config", "metrics"]));
}
