//! Files of a spool in a directory of the file system.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::Files;

/// Name of the lock file. It stays when the lock is released, because removing it would let two processes lock two
/// different files.
const LOCK_FILE: &str = "lock";

/// Directory on a file system.
#[derive(Debug)]
pub(crate) struct DiskFiles {
    path: PathBuf,
    /// Open while the directory is locked. The operating system releases the lock of a process that has died.
    lock: Option<File>,
}

impl DiskFiles {
    /// Uses the directory at `path`, which is created by [`Files::lock`].
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), lock: None }
    }

    fn list_directory(&self, path: &Path) -> io::Result<Vec<(String, u64)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            // Names that are not UTF-8 belong to other programs. A file may be removed by its owner meanwhile.
            if let (Ok(name), Ok(metadata)) = (entry.file_name().into_string(), entry.metadata())
                && metadata.is_file()
                && name != LOCK_FILE
            {
                files.push((name, metadata.len()));
            }
        }
        Ok(files)
    }
}

impl Files for DiskFiles {
    type File = File;

    fn path(&self) -> &Path {
        &self.path
    }

    fn lock(&mut self) -> io::Result<()> {
        if !self.path.is_dir() {
            private_directory().recursive(true).create(&self.path)?;
            if let Some(parent) = self.path.parent() {
                sync_directory(parent)?;
            }
        }
        let file = private_file().create(true).truncate(false).open(self.path.join(LOCK_FILE))?;
        match file.try_lock() {
            Ok(()) => {
                self.lock = Some(file);
                Ok(())
            }
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn unlock(&mut self) {
        self.lock = None;
    }

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        self.list_directory(&self.path)
    }

    fn list_in(&self, subdirectory: &str) -> io::Result<Vec<(String, u64)>> {
        match self.list_directory(&self.path.join(subdirectory)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            result => result,
        }
    }

    fn create(&self, name: &str) -> io::Result<File> {
        private_file().create_new(true).open(self.path.join(name))
    }

    fn open(&self, name: &str) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open(self.path.join(name))
    }

    fn open_read_only(&self, name: &str) -> io::Result<File> {
        File::open(self.path.join(name))
    }

    fn size(&self, file: &File) -> io::Result<u64> {
        Ok(file.metadata()?.len())
    }

    fn preallocate(&self, file: &File, size: u64) -> io::Result<()> {
        match fs4::FileExt::allocate(file, size) {
            // File systems without preallocation, such as NFS, return `EOPNOTSUPP` or `EINVAL`.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                Err(io::ErrorKind::Unsupported.into())
            }
            Err(error) => Err(error),
            // Some systems reserve the blocks without changing the size.
            Ok(()) if file.metadata()?.len() < size => file.set_len(size),
            Ok(()) => Ok(()),
        }
    }

    fn set_size(&self, file: &File, size: u64) -> io::Result<()> {
        file.set_len(size)
    }

    fn read_at(&self, file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut read = 0;
        while read < buffer.len() {
            match read_once(file, offset + read as u64, &mut buffer[read..]) {
                Ok(0) => break,
                Ok(bytes) => read += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn write_at(&self, file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut written = 0;
        while written < bytes.len() {
            match write_once(file, offset + written as u64, &bytes[written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(bytes) => written += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        // Includes the size of the file, without which its contents cannot be found. The time of the last change,
        // which `sync_all` includes, is not needed.
        file.sync_data()
    }

    fn sync_directory(&self) -> io::Result<()> {
        sync_directory(&self.path)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn create_subdirectory(&self, name: &str) -> io::Result<()> {
        private_directory().recursive(true).create(self.path.join(name))
    }
}

#[cfg(unix)]
fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Returns options for a file with the permissions that its directory passes on.
#[cfg(not(unix))]
fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    options
}

#[cfg(unix)]
fn private_directory() -> DirBuilder {
    let mut builder = DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
}

#[cfg(not(unix))]
fn private_directory() -> DirBuilder {
    DirBuilder::new()
}

#[cfg(unix)]
fn sync_directory(path: &Path) -> io::Result<()> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path)?.sync_all()
}

/// Does nothing, because a directory cannot be opened as a file. NTFS writes the changes of directories to its journal.
#[cfg(not(unix))]
fn sync_directory(_path: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn read_once(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, offset)
}

#[cfg(unix)]
fn write_once(file: &File, offset: u64, bytes: &[u8]) -> io::Result<usize> {
    std::os::unix::fs::FileExt::write_at(file, bytes, offset)
}

#[cfg(windows)]
fn read_once(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    match std::os::windows::fs::FileExt::seek_read(file, buffer, offset) {
        // `ERROR_HANDLE_EOF`.
        Err(error) if error.raw_os_error() == Some(38) => Ok(0),
        result => result,
    }
}

#[cfg(windows)]
fn write_once(file: &File, offset: u64, bytes: &[u8]) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_write(file, bytes, offset)
}

#[cfg(not(any(unix, windows)))]
compile_error!(
    "the feature `spool` needs files with reads and writes at an offset: Unix or Windows"
);
