//! Tests of the script `.ci/prose`, which checks the English of comments.

use std::fs;
use std::path::Path;
use std::process::Command;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/.ci/prose");

/// Returns `true` if the check passes, and its output. Returns `None` if the script or Python is missing.
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
    let Some((passes, output)) = check("plain.rs", include_str!("prose/plain.txt")) else { return };
    assert!(passes && !output.contains('['), "{output}");
}

#[test]
fn prose_rejects_turns_of_phrase() {
    let source = include_str!("prose/phrases.txt");
    let Some((passes, output)) = check("phrases.rs", source) else { return };
    assert!(!passes, "{output}");
    // A phrase can span lines, and code in comments is not checked.
    let expected = [
        (1, "speaking things"),
        (1, "without a count"),
        (4, "movement for progress"),
        (6, "unnamed persons"),
        (6, "archaisms"),
        (12, "unnamed persons"),
    ];
    for (line, rule) in expected {
        let found = output
            .lines()
            .any(|found| found.contains(&format!("phrases.rs:{line}:")) && found.contains(rule));
        assert!(found, "{line}, {rule}: {output}");
    }
    assert_eq!(
        output.lines().filter(|found| found.contains("phrases.rs:")).count(),
        expected.len()
    );
}

#[test]
fn prose_rejects_dependent_first_sentences() {
    let source = include_str!("prose/sentences.txt");
    let Some((passes, output)) = check("sentences.rs", source) else { return };
    assert!(!passes, "{output}");
    assert_eq!(output.matches("[first sentence does not stand alone]").count(), 2, "{output}");
}

#[test]
fn prose_rejects_long_test_names() {
    let name = "a".repeat(46);
    let source = format!("#[tokio::test(\n    start_paused = true\n)]\nasync fn {name}() {{}}\n");
    let Some((passes, output)) = check("name.rs", &source) else { return };
    assert!(!passes && output.contains("test name above 45 characters"), "{output}");
}
