use std::time::Duration;

use kinesis_sink::{KinesisSink, Producer, Record, SinkBuilder};

use crate::support::mock_service::MockService;

/// Default round trip of [`MockService`].
pub const ROUND_TRIP: Duration = Duration::from_millis(20);

pub fn builder() -> SinkBuilder {
    KinesisSink::builder("example").configure(|settings| settings.seed = Some(1))
}

pub fn produce(builder: SinkBuilder, service: &MockService) -> Producer {
    builder.build_with(service.clone()).unwrap().spawn()
}

pub fn record(data: impl ToString) -> Record {
    Record::from(data.to_string())
}
