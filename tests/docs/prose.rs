//! The check of the English, `.ci/prose`.

use std::fs;
use std::path::Path;
use std::process::Command;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/.ci/prose");

/// Runs the script for a file with this source. Returns whether the check passes, and its output, or `None` if the
/// script or Python is missing.
fn check(name: &str, source: &str) -> Option<(bool, String)> {
    let has_python = Command::new("python3").arg("--version").output().is_ok();
    if !Path::new(SCRIPT).exists() || !has_python {
        eprintln!("SKIPPED: .ci/prose is only in the repository, and needs python3");
        return None;
    }
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&file, source).unwrap();
    let output = Command::new("python3").args([SCRIPT, "--list"]).arg(&file).output().unwrap();
    Some((output.status.success(), String::from_utf8(output.stdout).unwrap()))
}

#[test]
fn prose_accepts_plain_english() {
    let source = "/// Returns the number of queued records.\nfn queued() {}\n";
    let Some((passes, output)) = check("plain.rs", source) else { return };
    assert!(passes, "{output}");
}

#[test]
fn prose_rejects_turns_of_phrase() {
    let source =
        "// The sink tells its owner so much.\n\n// Nobody mends it, and it goes on for ever.\n";
    let Some((passes, output)) = check("phrases.rs", source) else { return };
    assert!(!passes, "{output}");
    for rule in ["speaking things", "'so many' without a count", "unnamed persons", "archaisms"] {
        assert!(output.contains(rule), "{rule}: {output}");
    }
}

#[test]
fn prose_rejects_dependent_first_sentence() {
    let Some((passes, output)) = check("sentence.rs", "/// The same by another map.\nfn f() {}\n")
    else {
        return;
    };
    assert!(!passes && output.contains("first sentence does not stand alone"), "{output}");
}

#[test]
fn prose_rejects_long_test_name() {
    let name = "a".repeat(46);
    let Some((passes, output)) = check("name.rs", &format!("#[test]\nfn {name}() {{}}\n")) else {
        return;
    };
    assert!(!passes && output.contains("test name above 45 characters"), "{output}");
}
