//! Each example without arguments: it ends by itself, and has found everything.

use crate::support::example_program;

/// Runs it, and returns what it said.
fn demonstrate(name: &str, arguments: &[&str]) -> String {
    let said =
        example_program::example(name).args(arguments).output().expect("the example is built");
    let told = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.status.success(), "{told}{}", String::from_utf8_lossy(&said.stderr));
    told
}

#[test]
fn http_ingest_delivers_acknowledged_events() {
    let told = demonstrate("http_ingest", &["--events", "500"]);
    assert!(told.contains("500 events acknowledged; "), "{told}");
    assert!(told.contains("500 events accepted, 500 delivered in "), "{told}");
    assert!(told.ends_with("read back 500, 0 missing, 0 duplicated\n"), "{told}");
}

#[test]
fn lambda_delivers_before_it_responds() {
    let told = demonstrate("lambda", &[]);
    assert!(told.contains("500 messages in 5 events, 1 failed; "), "{told}");
    assert!(told.ends_with("read back 499, 0 missing, 0 duplicated\n"), "{told}");
}

#[test]
fn offsets_survives_crash_and_rebalance() {
    let told = demonstrate("offsets", &["--messages", "1000"]);
    assert!(told.contains("the first consumer crashed with "), "{told}");
    assert!(told.contains("moved partitions [2, 3] to a third consumer with "), "{told}");
    assert_eq!(told.matches(", 0 missing, ").count(), 2, "{told}");
    assert!(told.contains("\nread back 4000, 0 missing, "), "{told}");
}

#[test]
fn socket_reports_delivered_lines() {
    let told = demonstrate("socket", &["--lines", "300"]);
    assert!(told.contains("4 senders delivered 300 lines each"), "{told}");
    assert!(told.contains("error: stopped after 10 lines: max line length exceeded"), "{told}");
    assert!(told.ends_with("read back 1210, 0 missing, 0 duplicated\n"), "{told}");
}

#[test]
fn three_streams_share_connections() {
    let told = demonstrate("three_streams", &[]);
    for line in ["audit: read back 600,", "clicks: read back 4200,", "orders: read back 1200,"] {
        assert!(told.contains(line), "{told}");
    }
    // Two requests at the same time, to all three streams together. A connection that is not back in the pool
    // yet can make it one more.
    let connections = told.lines().last().unwrap().split(' ').next().unwrap();
    assert!(["2", "3", "4"].contains(&connections), "{told}");
}
