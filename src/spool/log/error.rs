use std::io;
use std::path::PathBuf;

/// Error of a log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum LogError {
    /// The directory is used by another process, or by another log of this process.
    #[error("spool {} is used by another process or sink", path.display())]
    Locked {
        /// Directory of the spool.
        path: PathBuf,
    },
    /// An operation on a file or on the directory failed.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// Verb in the infinitive, such as `write`.
        action: &'static str,
        /// File or directory.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The spool is damaged, and the settings are strict.
    #[error("spool file {} is damaged at offset {}: {}", .0.file.display(), .0.offset, .0.cause)]
    Damaged(Damage),
    /// A file has a format that this version of the crate does not know.
    #[error("spool file {} has format version {version}, but this version of kinesis-sink reads only version {known}", path.display())]
    Version {
        /// Segment file.
        path: PathBuf,
        /// Version in the file.
        version: u32,
        /// Version that is read and written.
        known: u32,
    },
}

/// Damaged part of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Damage {
    /// Damaged file.
    pub(crate) file: PathBuf,
    /// Offset of the first damaged byte.
    pub(crate) offset: u64,
    /// Number of damaged bytes.
    pub(crate) bytes: u64,
    /// Number of records that were lost, which are the missing sequence numbers.
    pub(crate) records: u64,
    /// Damaged structure.
    pub(crate) cause: Cause,
}

/// Cause of damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Cause {
    /// The header of a segment is invalid.
    #[error("invalid segment header")]
    Header,
    /// The footer of a segment is invalid, or contradicts its contents.
    #[error("invalid segment footer")]
    Footer,
    /// A frame is invalid.
    #[error("invalid frame")]
    Frame,
    /// Records are missing.
    #[error("missing records")]
    Missing,
    /// A frame of an acknowledgement file is invalid.
    #[error("invalid acknowledgement")]
    Acknowledgement,
    /// Bytes cannot be read.
    #[error("unreadable bytes")]
    Unreadable,
}

/// Reason why records were not appended.
#[derive(Debug)]
pub(crate) enum AppendError {
    /// The spool has its maximum size, or the disk or the quota is full.
    Full,
    /// The record is larger than the spool or than the largest possible frame.
    TooLarge,
    /// Writing failed, also in a new segment.
    Io(LogError),
}

/// Events that do not stop a log. They contain neither payloads nor keys.
#[derive(Debug)]
#[non_exhaustive]
pub(crate) enum LogEvent {
    /// Bytes were damaged. The intact records around them are kept.
    Damage(Damage),
    /// A sync failed. The records that it should have made durable were moved to a new segment, if they were kept.
    SyncFailed {
        /// File or directory.
        path: PathBuf,
        /// Error of the operating system.
        error: io::Error,
        /// Number of records that were written again.
        moved: u64,
        /// Number of records that may not be durable, because unsynced records were not kept.
        unprotected: u64,
    },
    /// A write failed. The segment was closed, and later records are written to a new segment.
    SegmentAbandoned {
        /// Segment file.
        path: PathBuf,
        /// Error of the operating system.
        error: io::Error,
    },
    /// The footer of a segment could not be written. The segment is scanned when the log is opened again.
    SealFailed {
        /// Segment file.
        path: PathBuf,
        /// Error of the operating system.
        error: io::Error,
    },
    /// A segment could not be opened for reading. Its records are kept, and can be read later.
    ReadFailed {
        /// Segment file.
        path: PathBuf,
        /// Error of the operating system.
        error: io::Error,
    },
    /// Acknowledgements could not be written. They are kept in memory and written later.
    AckWriteFailed {
        /// Acknowledgement file.
        path: PathBuf,
        /// Error of the operating system.
        error: io::Error,
    },
    /// A file that is not needed anymore could not be removed. The removal is repeated.
    RemoveFailed {
        /// Segment or acknowledgement file.
        path: PathBuf,
        /// Error of the operating system.
        error: io::Error,
    },
}
