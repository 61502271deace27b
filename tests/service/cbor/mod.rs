//! Kinesis CBOR: the bytes of requests, answers and errors as over JSON. Servers that speak it are in
//! `tests/servers`.

mod encoding;
mod errors;
mod requests;
mod responses;
mod simulator;

const CBOR: &str = "application/x-amz-cbor-1.1";
const JSON: &str = "application/x-amz-json-1.1";
