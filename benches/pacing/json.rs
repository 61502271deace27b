//! The figures as files for other programs.

use std::path::PathBuf;
use std::{env, fs, io};

use super::figures::Figures;

/// The scenarios of `pacing.json`. Others read it, so that it has these and no more.
const SCENARIOS: [&str; 7] = [
    "overload",
    "shared",
    "hot_shard",
    "reshard",
    "outage",
    "hot_key_ordered",
    "many_keys_ordered",
];

/// A scenario that is run in two modes has one row, with the worst of both.
const SECOND_MODES: [(&str, &str); 1] = [("reshard", "reshard_ordered")];

/// Writes `pacing.json` and `pacing_variants.json` into cargo's target directory, and tells where they are.
///
/// # Panics
///
/// A scenario of `pacing.json` is missing for one of the policies.
pub fn write(figures: &[&Figures], policies: usize) -> io::Result<[PathBuf; 2]> {
    let (main, variants): (Vec<_>, Vec<_>) =
        figures.iter().copied().partition(|row| SCENARIOS.contains(&row.scenario));
    assert_eq!(main.len(), SCENARIOS.len() * policies, "scenarios are missing");
    let main: Vec<_> = main.into_iter().map(|row| with_second_mode(row, &variants)).collect();
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
        variants.iter().find(|other| other.scenario == *second && other.policy == row.policy)
    });
    match second {
        Some(second) => row.clone().worst(second),
        None => row.clone(),
    }
}
