//! Runs the examples as a user would.

use std::env::consts::EXE_EXTENSION;
use std::process::Command;

/// The example, without anything of the developer's own account in its environment.
pub fn example(name: &str) -> Command {
    let target = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().to_owned();
    let program = target.join("examples").join(name).with_extension(EXE_EXTENSION);
    // `cargo test` builds it, `cargo test --test ..` does not.
    assert!(program.exists(), "build it first: cargo build --example {name}");
    let mut command = Command::new(program);
    command.env_clear().env("AWS_EC2_METADATA_DISABLED", "true");
    command.env("AWS_CONFIG_FILE", "/dev/null").env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
    command
}
