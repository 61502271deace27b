//! The sink of a producer is a sink like the sink itself.

use kinesis_sink::producer::ProducerSink;

use crate::support::sink_contract::contract;

contract!(ProducerSink);
