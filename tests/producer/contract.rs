use kinesis_sink::producer::ProducerSink;

use crate::support::sink_contract::contract;

contract!(ProducerSink);
