//! Tests of the permissions of a spool, and of a spool whose directory loses them.
#![cfg(unix)]

use std::fs::{Permissions, metadata, set_permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kinesis_sink::spool::Spool;

use super::Pipe;
use super::server::{Entry, EntryOutcome, Server};
use super::shutdown::wait_until;
use crate::support::example_program;
use crate::support::small_disk::TempDir;

/// The user `nobody`, because permissions do not apply to root.
const NOBODY: u32 = 65_534;

fn set_mode(path: &Path, mode: u32) {
    set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Starts `pipe` as a user to whom permissions apply. Returns `None` if that user cannot execute the program.
fn unprivileged(server: &Server, base: &TempDir, options: &[&str]) -> Option<Pipe> {
    let mut command = example_program::example("pipe");
    command.args(["--endpoint", &server.endpoint, "--region", "us-east-1"]).args(options);
    command.env("AWS_ACCESS_KEY_ID", "x").env("AWS_SECRET_ACCESS_KEY", "y");
    if metadata(base.path()).unwrap().uid() == 0 {
        set_mode(base.path(), 0o777);
        command.uid(NOBODY).gid(NOBODY);
    }
    let mut probe = std::process::Command::new(command.get_program());
    if metadata(base.path()).unwrap().uid() == 0 {
        probe.uid(NOBODY).gid(NOBODY);
    }
    if probe.arg("--help").output().is_err() {
        eprintln!("skipped: another user cannot execute the program");
        return None;
    }
    Some(Pipe::start(command))
}

#[test]
fn spool_is_private_to_owner() {
    let base = TempDir::new("pipe-spool-mode");
    let server = Server::start(|_: &Entry| EntryOutcome::Failed("InternalFailure"));
    let spool = base.path().join("spool");
    let mut pipe = Pipe::to(&server.endpoint, &["--spool", spool.to_str().unwrap()]);
    let mut input = pipe.input();
    input.write_all(b"one\n").unwrap();
    wait_until(|| spool.exists() && Spool::at(&spool).inspect().unwrap().records == 1);
    let mode = |path: &Path| metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&spool), 0o700);
    let mut files = 0;
    for entry in std::fs::read_dir(&spool).unwrap() {
        let path = entry.unwrap().path();
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode(&path), expected, "{}", path.display());
        files += 1;
    }
    assert!(files >= 2, "a lock and a segment");
}

#[test]
fn spool_survives_loss_of_permission() {
    let base = TempDir::new("pipe-spool-permission");
    let accepts = Arc::new(AtomicBool::new(false));
    let server = Server::start({
        let accepts = accepts.clone();
        move |_: &Entry| {
            if accepts.load(Ordering::Relaxed) {
                EntryOutcome::Delivered
            } else {
                EntryOutcome::Failed("InternalFailure")
            }
        }
    });
    let spool = base.path().join("spool");
    // Segments of 256 KiB, so that a new one is needed soon.
    let options = ["--spool", spool.to_str().unwrap(), "--spool-max-bytes", "1048576"];
    let Some(mut pipe) = unprivileged(&server, &base, &options) else { return };
    let mut input = pipe.input();
    for number in 0..10 {
        writeln!(input, "{number:x>1000}").unwrap();
    }
    wait_until(|| spool.exists() && Spool::at(&spool).inspect().unwrap().records == 10);

    set_mode(&spool, 0o000);
    for number in 10..60 {
        writeln!(input, "{number:x>10000}").unwrap();
    }
    std::thread::sleep(Duration::from_secs(1));
    assert!(pipe.0.try_wait().unwrap().is_none(), "the program waits for the permission");
    accepts.store(true, Ordering::Relaxed);
    std::thread::sleep(Duration::from_millis(300));

    set_mode(&spool, 0o700);
    drop(input);
    pipe.wait().expect(0, &["60 records, ", "60 records delivered"]);
    let delivered = server.delivered().into_iter();
    let mut numbers: Vec<u32> =
        delivered.map(|data| data.trim_start_matches('x').parse().unwrap()).collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..60));
}

#[test]
fn unreadable_spool_reports_path() {
    let base = TempDir::new("pipe-spool-unreadable");
    let server = Server::accepting_all();
    let spool = base.path().join("spool");
    std::fs::create_dir(&spool).unwrap();
    set_mode(&spool, 0o000);
    let path = spool.to_str().unwrap();
    let Some(pipe) = unprivileged(&server, &base, &["--spool", path]) else { return };
    pipe.run("one\n").expect(1, &["error: ", path, "ermission denied"]);
    assert_eq!(server.requests(), 0);
}
