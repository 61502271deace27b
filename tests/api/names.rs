//! What stands at the root, and what in modules.

use kinesis_sink::sim::SimStream;
use kinesis_sink::{BuildError, KinesisSink, SinkBuilder, StreamId};

/// The API list, which `.ci/api` writes and checks.
const API: &str = include_str!("../../docs/api.txt");

#[test]
fn stream_is_given_first_and_in_any_form() {
    let client = SimStream::new(1).client();
    let parsed: StreamId = "clicks".parse().unwrap();
    let builders: [SinkBuilder; 5] = [
        KinesisSink::builder("clicks"),
        KinesisSink::builder(String::from("clicks")),
        KinesisSink::builder(&String::from("clicks")),
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
    let builder =
        KinesisSink::builder("clicks").with_max_in_flight(2).with_dead_letters(|lost| drop(lost));
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

#[test]
fn root_has_at_most_30_names() {
    let names = |prefix: &str| {
        let at_root = |line: &&str| {
            let name = line.split(prefix).nth(1).unwrap_or_default();
            !name.is_empty() && !name.contains("::") && !line.contains(" fn ")
        };
        API.lines().filter(at_root).count()
    };
    let count = names("kinesis_sink::");
    assert!((10..=30).contains(&count), "{count}");
}
