//! Files of a spool in a directory of the file system.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::Files;

/// Directory on a file system.
#[derive(Debug)]
pub(crate) struct DiskFiles {
    path: PathBuf,
    lock: Option<File>,
}

impl DiskFiles {
    /// Uses the directory at `path`, which is created by [`Files::lock`].
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), lock: None }
    }
}

impl Files for DiskFiles {
    type File = File;

    fn path(&self) -> &Path {
        &self.path
    }

    fn lock(&mut self) -> io::Result<()> {
        todo!()
    }

    fn unlock(&mut self) {
        self.lock = None;
    }

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        todo!()
    }

    fn list_in(&self, _subdirectory: &str) -> io::Result<Vec<(String, u64)>> {
        todo!()
    }

    fn create(&self, _name: &str) -> io::Result<File> {
        todo!()
    }

    fn open(&self, _name: &str) -> io::Result<File> {
        todo!()
    }

    fn open_read_only(&self, _name: &str) -> io::Result<File> {
        todo!()
    }

    fn size(&self, _file: &File) -> io::Result<u64> {
        todo!()
    }

    fn preallocate(&self, _file: &File, _size: u64) -> io::Result<()> {
        todo!()
    }

    fn set_size(&self, _file: &File, _size: u64) -> io::Result<()> {
        todo!()
    }

    fn read_at(&self, _file: &File, _offset: u64, _buffer: &mut [u8]) -> io::Result<usize> {
        todo!()
    }

    fn write_at(&self, _file: &File, _offset: u64, _bytes: &[u8]) -> io::Result<()> {
        todo!()
    }

    fn sync(&self, _file: &File) -> io::Result<()> {
        todo!()
    }

    fn sync_directory(&self) -> io::Result<()> {
        todo!()
    }

    fn rename(&self, _from: &str, _to: &str) -> io::Result<()> {
        todo!()
    }

    fn remove(&self, _name: &str) -> io::Result<()> {
        todo!()
    }

    fn create_subdirectory(&self, _name: &str) -> io::Result<()> {
        todo!()
    }
}
