//! Runs this program under valgrind's callgrind.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::{env, fs, io};

/// Why nothing was counted.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    #[error("callgrind cannot be run: {0}")]
    Io(#[from] io::Error),
    #[error("callgrind failed for {piece}: {output}")]
    Callgrind { piece: String, output: String },
    #[error("{0} has no count")]
    NoCount(PathBuf),
}

pub fn is_here() -> bool {
    let mut command = Command::new("valgrind");
    let status = command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// The instructions of one run of a piece.
pub fn instructions(piece: &str) -> Result<f64, Failed> {
    let [once, thrice] = [total(piece, 1)?, total(piece, 3)?];
    Ok((thrice - once) as f64 / 2.0)
}

/// Those of a process that runs the piece so often.
fn total(piece: &str, times: u32) -> Result<i64, Failed> {
    let folder = target().join("callgrind");
    fs::create_dir_all(&folder)?;
    let file = folder.join(format!("{}.{times}.out", piece.replace([' ', ','], "_")));
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--dump-line=no"])
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(env::current_exe()?)
        .args(["--piece", piece, "--times", &times.to_string()])
        .stdin(Stdio::null())
        .output()?;
    if !output.status.success() {
        let output = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Failed::Callgrind { piece: piece.to_owned(), output });
    }
    let written = fs::read_to_string(&file)?;
    let mut totals = written.lines().filter_map(|line| line.strip_prefix("totals:"));
    let total = totals.next_back().and_then(|total| total.trim().parse().ok());
    total.ok_or(Failed::NoCount(file))
}

/// Cargo's target directory.
pub fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or("target".into(), PathBuf::from)
}
