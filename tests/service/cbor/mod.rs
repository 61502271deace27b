//! Tests that compare CBOR requests, responses, and errors with JSON. `tests/servers` tests the protocol with servers.

mod encoding;
mod errors;
mod requests;
mod responses;
mod simulator;

const CBOR: &str = "application/x-amz-cbor-1.1";
const JSON: &str = "application/x-amz-json-1.1";
