//! Kinesis CBOR: the bytes of requests, answers and errors as over JSON, and servers that speak it.

mod bytes;
mod cbor_answers;
#[cfg(feature = "config")]
#[allow(dead_code, reason = "the examples need more of it")]
#[path = "../../examples/kinesis/embedded.rs"]
mod embedded;
mod errors;
mod malformed;
#[path = "../wire/requests.rs"]
mod requests;
#[cfg(feature = "config")]
mod servers;
mod simulator;
#[path = "../wire/mod.rs"]
mod wire;

const CBOR: &str = "application/x-amz-cbor-1.1";
const JSON: &str = "application/x-amz-json-1.1";
