//! The sink of a producer is a sink like the sink itself.

mod contract;
mod scripted;

use contract::contract;
use kinesis_sink::producer::ProducerSink;

contract!(ProducerSink);
