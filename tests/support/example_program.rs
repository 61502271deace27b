//! Runs the examples as separate processes.

use std::env::consts::EXE_EXTENSION;
use std::process::Command;

/// Returns a command that runs the example without the developer's AWS configuration.
pub fn example(name: &str) -> Command {
    let target = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().to_owned();
    let program = target.join("examples").join(name).with_extension(EXE_EXTENSION);
    // `cargo test` builds the examples, but `cargo test --test ..` does not.
    assert!(program.exists(), "example {name} is not built; run cargo build --example {name}");
    let mut command = Command::new(program);
    command.env_clear().env("AWS_EC2_METADATA_DISABLED", "true");
    command.env("AWS_CONFIG_FILE", "/dev/null").env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
    command
}
