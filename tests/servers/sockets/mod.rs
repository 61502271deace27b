//! Over real sockets, through the real SDK and a proxy in front of a Kinesis server, with everything that
//! can happen to a connection: nothing is lost, every run ends, and the logs name the cause.
#![cfg(feature = "aws-config")]

mod connection;
mod dead;
mod fault;
#[allow(dead_code, reason = "the soak needs more of it")]
#[path = "../../../examples/soak/faults/gate.rs"]
mod gate;
mod killed;
mod large;
mod lasting;
mod orders;
mod passing;
mod proxy;
mod restart;
mod run;
mod tls;
