use std::path::PathBuf;
use std::{env, fs, io};

use super::figures::Figures;
use super::table::Row;

/// Scenarios with a second mode. The row in the file has the worse figures of the two modes.
const SECOND_MODES: [(&str, &str); 1] = [("reshard", "reshard_ordered")];

pub fn write(rows: &[Row]) -> io::Result<[PathBuf; 2]> {
    let (variants, main): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.is_variant);
    let variants: Vec<_> = variants.into_iter().map(|row| &row.figures).collect();
    let main: Vec<_> = main.iter().map(|row| with_second_mode(&row.figures, &variants)).collect();
    let target = env::var_os("CARGO_TARGET_DIR").map_or("target".into(), PathBuf::from);
    fs::create_dir_all(&target)?;
    let paths = ["pacing.json", "pacing_variants.json"].map(|name| target.join(name));
    fs::write(&paths[0], serde_json::to_string_pretty(&main)? + "\n")?;
    fs::write(&paths[1], serde_json::to_string_pretty(&variants)? + "\n")?;
    Ok(paths)
}

fn with_second_mode(row: &Figures, variants: &[&Figures]) -> Figures {
    let second = SECOND_MODES.iter().find(|(scenario, _)| *scenario == row.scenario);
    let second = second.and_then(|(_, second)| {
        variants.iter().find(|other| {
            other.scenario == *second && other.policy == row.policy && other.noise == row.noise
        })
    });
    match second {
        Some(second) => row.clone().worst(second),
        None => row.clone(),
    }
}
