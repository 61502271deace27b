//! Tests of the `futures::Sink` contract for `ProducerSink`.

use kinesis_sink::producer::ProducerSink;

use crate::support::sink_contract::contract;

contract!(ProducerSink);
