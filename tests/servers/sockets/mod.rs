//! Tests that no record is lost when connections fail, that every run ends, and that the logs name the cause.
#![cfg(feature = "aws-config")]

mod connection;
mod dead_connections;
mod fault;
mod fault_plan;
#[allow(dead_code, reason = "a part is used only by the example soak")]
#[path = "../../../examples/soak/faults/gate.rs"]
mod gate;
mod large_responses;
mod persistent_faults;
mod proxy;
mod restart;
mod rig;
mod server_crash;
mod tls;
mod transient_faults;
