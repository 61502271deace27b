//! Tests that the documentation, the constants, and the recorder have the same metric names.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::{StreamExt, stream};
use kinesis_sink::service::ServiceBuilderExt;
use kinesis_sink::sim::{Faults, SimStream};
use kinesis_sink::spool::Spool;
use kinesis_sink::{KinesisSink, Record};
use tower::ServiceBuilder;

use crate::recorder::Recorded;

const DOCUMENTATION: &str = include_str!("../../src/metrics/mod.rs");
const CONSTANTS: &str = include_str!("../../src/metrics/names.rs");

fn documented() -> BTreeMap<String, String> {
    let rows = DOCUMENTATION.lines().filter_map(|line| line.strip_prefix("//! | `kinesis_sink_"));
    let cells = rows.map(|row| row.split(" | ").take(2).map(str::to_owned).collect::<Vec<_>>());
    let named = cells.map(|cells| (cells[0].trim_end_matches('`').to_owned(), cells[1].clone()));
    named.collect()
}

#[tokio::test(start_paused = true)]
async fn documentation_lists_recorded_metrics() {
    let recorder = Recorded::install();
    let faults = Faults::default().with_throttles(0.1).with_internal_failures(0.1);
    let stream = SimStream::builder().with_faults(faults).with_seed(3).build().unwrap();
    let service = ServiceBuilder::new()
        .metrics_put_records()
        .timeout_put_records(Duration::from_secs(5))
        .service(stream.service());
    let mut sink = KinesisSink::builder("example").build_with(service).unwrap();
    let records = (0..2_000).map(|number| Ok(Record::from(number.to_string())));
    stream::iter(records).forward(&mut sink).await.unwrap();
    let directory =
        std::env::temp_dir().join(format!("kinesis-sink-metrics-{}", std::process::id()));
    let spool = Spool::at(&directory);
    let spooled = KinesisSink::builder("example").with_spool(spool).build_with(stream.service());
    drop(spooled.unwrap());
    std::fs::remove_dir_all(&directory).ok();

    let recorded = recorder.names();
    let recorded: BTreeMap<_, _> = recorded.iter().map(|(name, kind)| (&**name, *kind)).collect();
    let documented = documented();
    let documented: BTreeMap<_, _> =
        documented.iter().map(|(name, kind)| (&**name, &**kind)).collect();
    assert_eq!(recorded, documented);
}

#[test]
fn constants_match_documented_names() {
    let constants = CONSTANTS.split(';').filter_map(|constant| {
        let (name, value) = constant.split_once(" =")?;
        let name = name.split_whitespace().last()?;
        let value = value.split('"').nth(1)?.strip_prefix("kinesis_sink_")?;
        assert_eq!(name.to_lowercase(), value);
        Some(value.to_owned())
    });
    assert_eq!(constants.collect::<BTreeSet<_>>(), documented().into_keys().collect());
}
