#![allow(dead_code, reason = "each test binary uses a part of the helpers")]

pub mod alloc;
#[cfg(feature = "aws-config")]
#[path = "../../examples/support/embedded.rs"]
pub mod embedded;
pub mod example_program;
pub mod http;
pub mod logs;
pub mod mock_service;
pub mod protobuf;
#[cfg(feature = "aws-config")]
#[path = "../../examples/support/read_back.rs"]
pub mod read_back;
pub mod requests;
pub mod response_shapes;
pub mod seeds;
pub mod sink_contract;
#[cfg(target_os = "linux")]
pub mod small_disk;
