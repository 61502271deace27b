use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::{env, fs, io};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to run callgrind: {0}")]
    Io(#[from] io::Error),
    #[error("callgrind failed for {benchmark}: {output}")]
    Callgrind { benchmark: String, output: String },
    #[error("no total in {0}")]
    NoCount(PathBuf),
}

pub fn is_installed() -> bool {
    let mut command = Command::new("valgrind");
    let status = command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Returns the number of instructions in one run of a benchmark, without its setup.
pub fn instructions(benchmark: &str) -> Result<f64, Error> {
    let [once, thrice] = [total(benchmark, 1)?, total(benchmark, 3)?];
    Ok((thrice - once) as f64 / 2.0)
}

/// Returns the number of instructions executed by a process that runs the benchmark `times` times.
fn total(benchmark: &str, times: u32) -> Result<i64, Error> {
    let folder = target().join("callgrind");
    fs::create_dir_all(&folder)?;
    let file = folder.join(format!("{}.{times}.out", benchmark.replace([' ', ','], "_")));
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--dump-line=no"])
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(env::current_exe()?)
        .args(["--benchmark", benchmark, "--times", &times.to_string()])
        .stdin(Stdio::null())
        .output()?;
    if !output.status.success() {
        let output = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Error::Callgrind { benchmark: benchmark.to_owned(), output });
    }
    let written = fs::read_to_string(&file)?;
    let mut totals = written.lines().filter_map(|line| line.strip_prefix("totals:"));
    let total = totals.next_back().and_then(|total| total.trim().parse().ok());
    total.ok_or(Error::NoCount(file))
}

pub fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or("target".into(), PathBuf::from)
}
