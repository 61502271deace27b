use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::log::LogError;

/// Error of a spool that cannot be opened or read.
///
/// The message names the file or directory. It contains neither payloads nor keys.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SpoolError {
    kind: SpoolErrorKind,
    path: PathBuf,
    message: Box<str>,
}

/// Kind of a [`SpoolError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SpoolErrorKind {
    /// The directory is used by another process, or by another sink of this process.
    Locked,
    /// The spool is damaged, and it is [strict](super::Spool::strict).
    Damaged,
    /// The spool was written by a version of this crate with another format.
    Version,
    /// An operation on a file failed, for example because of missing permissions.
    Io(io::ErrorKind),
}

impl SpoolError {
    pub(crate) fn new(directory: &Path, error: &LogError) -> Self {
        let (kind, path) = match error {
            LogError::Locked { path } => (SpoolErrorKind::Locked, path.as_path()),
            LogError::Io { path, source, .. } => {
                (SpoolErrorKind::Io(source.kind()), path.as_path())
            }
            LogError::Damaged(damage) => (SpoolErrorKind::Damaged, damage.file.as_path()),
            LogError::Version { path, .. } => (SpoolErrorKind::Version, path.as_path()),
        };
        // A file name without its directory would not be found.
        let path = if path.is_absolute() { path.to_owned() } else { directory.join(path) };
        Self { kind, path, message: error.to_string().into() }
    }

    pub(crate) fn thread(directory: &Path, error: &io::Error) -> Self {
        Self {
            kind: SpoolErrorKind::Io(error.kind()),
            path: directory.to_owned(),
            message: format!("cannot start the thread of spool {}: {error}", directory.display())
                .into(),
        }
    }

    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> SpoolErrorKind {
        self.kind
    }

    /// Returns the file or directory to which the error refers.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl fmt::Debug for SpoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
