use std::process::ExitCode;

use clap::Parser;

use crate::logs;

/// Parses the command line, runs `example`, and returns the exit code. The log level is INFO, which shows outages.
#[allow(dead_code, reason = "examples that set up their own log call `exit_code`")]
pub async fn run<A: Parser>(example: impl AsyncFnOnce(A) -> anyhow::Result<()>) -> ExitCode {
    let arguments = A::parse();
    logs::init("kinesis_sink=info");
    exit_code(example(arguments).await)
}

/// Returns the exit code for `result`. Prints the error, if there is one, with its causes.
pub fn exit_code(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
