//! Runs the example `spool_kill`.

use crate::support::example_program;

fn spool_kill(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = example_program::example("spool_kill");
    let output = command.args(arguments).output().expect("the example is built");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

/// A debug build on a busy machine can be late with acknowledgements, so the bound of duplicates is wide here.
const OPTIONS: [&str; 4] = ["--max-records", "400", "--slack", "2000"];

#[test]
fn twenty_kills_lose_no_record() {
    let (status, output) = spool_kill(&[&["--kills", "20"], &OPTIONS[..]].concat());
    assert_eq!(status, Some(0), "{output}");
    assert!(output.contains(" delivered, 0 lost, "), "{output}");
}

#[test]
fn ten_kills_keep_order_per_key() {
    let (status, output) = spool_kill(&[&["--kills", "10", "--ordered"], &OPTIONS[..]].concat());
    assert_eq!(status, Some(0), "{output}");
    assert!(output.contains(" 0 out of order"), "{output}");
}

#[test]
fn removed_segments_fail_run() {
    let options = ["--kills", "10", "--seed", "3", "--lossy"];
    let (status, output) = spool_kill(&[&options, &OPTIONS[..]].concat());
    assert_eq!(status, Some(3), "{output}");
    assert!(!output.contains(" delivered, 0 lost, "), "{output}");
}
