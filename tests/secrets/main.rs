//! Payloads, keys and credentials show up nowhere: not in logs, errors, `Debug`, metrics and panics.

mod answers;
#[cfg(feature = "aws-config")]
#[path = "../../examples/kinesis/embedded.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod embedded;
mod failures;
#[cfg(feature = "metrics")]
mod labels;
mod logs;
mod marks;
mod panics;
mod shown;
#[path = "../wire/mod.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod wire;
