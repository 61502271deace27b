//! Kinesis CBOR: the bytes of requests, answers and errors as over JSON. Servers that speak it are in
//! `tests/servers`.

mod bytes;
mod cbor_answers;
mod errors;
mod malformed;
#[path = "../wire/requests.rs"]
mod requests;
#[path = "../wire/shapes.rs"]
mod shapes;
mod simulator;
#[path = "../wire/mod.rs"]
mod wire;

const CBOR: &str = "application/x-amz-cbor-1.1";
const JSON: &str = "application/x-amz-json-1.1";
