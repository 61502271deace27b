//! Tests that compile errors name the unsatisfied trait bound. Each file `tests/docs/ui/*.rs` must fail to compile, and
//! the error must contain the lines of the corresponding `.stderr` file.
//!
//! The test runs rustc with its own libraries instead of using `trybuild`, because `trybuild` would build all
//! dependencies again in a separate target directory.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, fs};

/// Features that this test was built with. With other features, cargo would build the library again.
const FEATURES: [(&str, bool); 6] = [
    ("default", cfg!(feature = "default")),
    ("aws-config", cfg!(feature = "aws-config")),
    ("cbor", cfg!(feature = "cbor")),
    ("metrics", cfg!(feature = "metrics")),
    ("serde", cfg!(feature = "serde")),
    ("sim", cfg!(feature = "sim")),
];

/// Returns the libraries that this test is linked with. Cargo only lists them, because it has already built them.
fn libraries() -> HashMap<String, String> {
    let features = FEATURES.iter().filter(|(_, on)| *on).map(|(name, _)| *name);
    let features = features.collect::<Vec<_>>().join(",");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["test", "--test", "docs", "--no-run", "--quiet", "--message-format=json"]);
    cargo.args(["--no-default-features", "--features", &features]);
    let output = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).stderr(Stdio::inherit()).output();
    let output = String::from_utf8(output.unwrap().stdout).unwrap();
    let messages = output.lines().map(|line| serde_json::from_str(line).unwrap());
    let libraries = messages.filter_map(|message: serde_json::Value| {
        let files = message["filenames"].as_array()?;
        let file = files.iter().filter_map(|file| file.as_str()).find(|f| f.ends_with(".rlib"))?;
        Some((message["target"]["name"].as_str()?.to_owned(), file.to_owned()))
    });
    libraries.collect()
}

fn compile(file: &Path, libraries: &HashMap<String, String>) -> (bool, String) {
    let dependencies = env::current_exe().unwrap().parent().unwrap().display().to_string();
    let mut rustc = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.args(["--edition=2024", "--crate-type=lib", "--emit=metadata", "--color=never"]);
    rustc.args(["--diagnostic-width=160", "--out-dir", env!("CARGO_TARGET_TMPDIR")]);
    rustc.arg("-L").arg(format!("dependency={dependencies}"));
    for name in ["aws_sdk_kinesis", "futures", "kinesis_sink", "tower"] {
        rustc.arg("--extern").arg(format!("{name}={}", libraries[name]));
    }
    let output = rustc.arg(file).output().unwrap();
    (output.status.success(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn compile_errors_name_missing_bound() {
    let libraries = libraries();
    let mut checked = 0;
    for file in fs::read_dir("tests/docs/ui").unwrap() {
        let file = file.unwrap().path();
        if file.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let (compiles, stderr) = compile(&file, &libraries);
        assert!(!compiles, "{} compiles", file.display());
        let expected = fs::read_to_string(file.with_extension("stderr")).unwrap();
        assert!(expected.starts_with("error"), "{} expects no error", file.display());
        for line in expected.lines() {
            assert!(stderr.contains(line), "{}: no `{line}` in\n{stderr}", file.display());
        }
        assert_eq!(stderr.matches("\nerror").count(), 1, "errors besides the first:\n{stderr}");
        checked += 1;
    }
    assert!(checked > 0, "no files");
}
