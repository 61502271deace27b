//! CBOR protocol: requests, responses and errors, compared with JSON. `tests/servers` tests the protocol with servers.

mod encoding;
mod errors;
mod requests;
mod responses;
mod simulator;

const CBOR: &str = "application/x-amz-cbor-1.1";
const JSON: &str = "application/x-amz-json-1.1";
