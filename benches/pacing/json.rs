//! The figures as a file for other programs.

use std::path::PathBuf;
use std::{env, fs, io};

use super::figures::Figures;

/// Writes `pacing.json` into cargo's target directory, and tells where that is.
pub fn write(figures: &[&Figures]) -> io::Result<PathBuf> {
    let target = env::var_os("CARGO_TARGET_DIR").map_or("target".into(), PathBuf::from);
    let path = target.join("pacing.json");
    fs::create_dir_all(&target)?;
    fs::write(&path, serde_json::to_string_pretty(figures)? + "\n")?;
    Ok(path)
}
