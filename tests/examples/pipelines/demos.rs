//! Runs the demo of each example, which sends records and reads them back.

use crate::support::example_program;

fn run(name: &str, arguments: &[&str]) -> String {
    let output =
        example_program::example(name).args(arguments).output().expect("the example is built");
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{stdout}{}", String::from_utf8_lossy(&output.stderr));
    stdout
}

#[test]
fn http_ingest_delivers_acknowledged_events() {
    let stdout = run("http_ingest", &["--events", "500"]);
    assert!(stdout.contains("500 events acknowledged; "), "{stdout}");
    assert!(stdout.contains("500 events accepted, 500 delivered in "), "{stdout}");
    assert!(stdout.ends_with("read back 500, 0 missing, 0 duplicated\n"), "{stdout}");
}

#[test]
fn lambda_delivers_before_it_responds() {
    let stdout = run("lambda", &[]);
    assert!(stdout.contains("500 messages in 5 events, 1 failed; "), "{stdout}");
    assert!(stdout.ends_with("read back 499, 0 missing, 0 duplicated\n"), "{stdout}");
}

#[test]
fn offsets_does_not_lose_messages_on_crash() {
    let stdout = run("offsets", &["--messages", "1000"]);
    assert!(stdout.contains("the first consumer crashed with "), "{stdout}");
    assert!(stdout.contains("moved partitions [2, 3] to a third consumer with "), "{stdout}");
    assert_eq!(stdout.matches(", 0 missing, ").count(), 2, "{stdout}");
    assert!(stdout.contains("\nread back 4000, 0 missing, "), "{stdout}");
}

#[test]
fn socket_reports_delivered_lines() {
    let stdout = run("socket", &["--lines", "300"]);
    assert!(stdout.contains("4 senders delivered 300 lines each"), "{stdout}");
    assert!(stdout.contains("error: stopped after 10 lines: max line length exceeded"), "{stdout}");
    assert!(stdout.ends_with("read back 1210, 0 missing, 0 duplicated\n"), "{stdout}");
}

#[test]
fn tenants_share_connections() {
    let stdout = run("tenants", &[]);
    assert!(stdout.contains("\ntenant-02: the stream refuses all requests: "), "{stdout}");
    assert!(stdout.contains(", 0 missing, "), "{stdout}");
    // At most eight requests are concurrent, but other connections might not have been returned to the pool yet.
    let connections = stdout.lines().last().unwrap().split(' ').next().unwrap();
    assert!(connections.parse::<usize>().unwrap() <= 12, "{stdout}");
}
