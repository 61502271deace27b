//! A file system of a few MiB, and directories without permissions.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A temporary directory that is removed on drop.
pub struct TempDir(PathBuf);

impl TempDir {
    pub fn new(test: &str) -> Self {
        let name = format!("kinesis-sink-{test}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::remove_dir_all(&path).ok();
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// A tmpfs in the mount namespace of a process, which ends on drop. The directory is reached through `/proc`.
pub struct SmallDisk {
    process: Child,
    path: PathBuf,
    _mount_point: TempDir,
}

impl SmallDisk {
    /// Mounts a tmpfs of a size in MiB. Prints the reason and returns `None` if this process may not do that, which
    /// is an error if the environment contains `REQUIRE_SMALL_DISK`.
    pub fn mount(test: &str, mib: u32) -> Option<Self> {
        let mount_point = TempDir::new(test);
        let script =
            format!("mount -t tmpfs -o size={mib}m tmpfs \"$0\" && echo ready && exec cat");
        let started = Command::new("unshare")
            .args(["--map-root-user", "--mount", "sh", "-c", &script])
            .arg(mount_point.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut line = String::new();
        if let Ok(mut process) = started {
            let stdout = process.stdout.as_mut().expect("standard output is piped");
            BufReader::new(stdout).read_line(&mut line).unwrap();
            let relative = mount_point.path().strip_prefix("/").expect("the path is absolute");
            let path = Path::new("/proc").join(process.id().to_string()).join("root");
            let disk = Self { path: path.join(relative), process, _mount_point: mount_point };
            if line == "ready\n" && disk.path.is_dir() {
                return Some(disk);
            }
        }
        assert!(std::env::var_os("REQUIRE_SMALL_DISK").is_none(), "a tmpfs cannot be mounted");
        eprintln!("skipped: a tmpfs cannot be mounted in a user namespace");
        None
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // `cat` ends when its input is closed.
        drop(self.process.stdin.take());
        self.process.wait().ok();
    }
}
