//! Over real sockets, through the real SDK and a proxy in front of a Kinesis server, with everything that
//! can happen to a connection: nothing is lost, every run ends, and the logs name the cause.
#![cfg(feature = "aws-config")]

mod connection;
mod dead;
#[path = "../../examples/kinesis/embedded.rs"]
mod embedded;
mod fault;
#[allow(dead_code, reason = "the soak needs more of it")]
#[path = "../../examples/soak/faults/gate.rs"]
mod gate;
#[path = "../held/mod.rs"]
mod held;
mod killed;
mod large;
mod lasting;
#[path = "../logs/mod.rs"]
mod logs;
mod orders;
mod passing;
mod proxy;
#[allow(dead_code, reason = "the examples need more of it")]
#[path = "../../examples/kinesis/read_back.rs"]
mod read_back;
mod restart;
mod run;
mod tls;
