use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::files::DiskFiles;
use super::log::{self, LogError, LogInfo};
use super::{Spool, SpoolError};

/// Contents of a spool, as returned by [`Spool::inspect`] and [`Spool::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct SpoolInfo {
    /// Number of records that are neither delivered nor taken.
    pub records: u64,
    /// Sequence number of the next record, which is the number of records written since the spool was created.
    pub next_sequence: u64,
    /// Size of segments and acknowledgements on disk in bytes, with preallocated space.
    pub disk_bytes: u64,
    /// Size of incomplete writes in bytes, which are removed when a sink opens the spool. Their records were not accepted.
    pub torn_bytes: u64,
    /// Number of files with damaged bytes that were set aside.
    pub damaged_files: u64,
    /// Size of the files with damaged bytes.
    pub damaged_file_bytes: u64,
    /// Segments, oldest first.
    pub segments: Vec<SegmentInfo>,
    /// Damage that was found.
    pub damage: Vec<SpoolDamage>,
}

/// Segment of a spool, a part of [`SpoolInfo`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct SegmentInfo {
    /// Sequence number of the first record, which is also the name of the file.
    pub first: u64,
    /// Number of records.
    pub records: u64,
    /// Number of records that are neither delivered nor taken.
    pub unacknowledged: u64,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// Set to `true` if the segment is complete.
    pub sealed: bool,
    /// Time at which the oldest record was accepted, from the system clock. `None` if it is not known.
    pub oldest_accepted_at: Option<SystemTime>,
}

/// Damage of a spool, a part of [`SpoolInfo`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct SpoolDamage {
    /// Damaged file.
    pub file: PathBuf,
    /// Offset of the first damaged byte.
    pub offset: u64,
    /// Number of damaged bytes.
    pub bytes: u64,
    /// Number of records that are lost.
    pub records: u64,
    /// Description of the damage.
    pub cause: String,
}

impl Spool {
    /// Reads the index of the spool, without changing anything.
    ///
    /// The directory can be in use; the result is then approximate. Takes time proportional to the number of segments.
    /// Finds only damage of the index. A [placeholder](Self::at) in the path is not replaced. The method blocks.
    ///
    /// ```
    /// use kinesis_sink::spool::Spool;
    ///
    /// # fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// let info = Spool::at("/var/lib/app/clicks").inspect()?;
    /// println!("{} records in {} segments", info.records, info.segments.len());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the directory cannot be read, or if it has the format of another version of this crate.
    pub fn inspect(&self) -> Result<SpoolInfo, SpoolError> {
        self.info(log::inspect(&DiskFiles::new(self.path())))
    }

    /// Reads and checks all records in the spool like [`inspect`](Self::inspect). Damage is returned in the result.
    ///
    /// # Errors
    ///
    /// Returns an error in the same cases as [`inspect`](Self::inspect).
    pub fn verify(&self) -> Result<SpoolInfo, SpoolError> {
        self.info(log::verify(&DiskFiles::new(self.path())))
    }

    fn info(&self, info: Result<LogInfo, LogError>) -> Result<SpoolInfo, SpoolError> {
        info.map(SpoolInfo::from).map_err(|error| SpoolError::new(self.path(), &error))
    }
}

impl From<LogInfo> for SpoolInfo {
    fn from(info: LogInfo) -> Self {
        let segment = |segment: log::SegmentInfo| SegmentInfo {
            first: segment.first,
            records: segment.records,
            unacknowledged: segment.unacknowledged,
            bytes: segment.bytes,
            sealed: segment.sealed,
            oldest_accepted_at: segment
                .oldest_accepted_at_ms
                .map(|millis| SystemTime::UNIX_EPOCH + Duration::from_millis(millis)),
        };
        let damage = |damage: log::Damage| SpoolDamage {
            file: damage.file,
            offset: damage.offset,
            bytes: damage.bytes,
            records: damage.records,
            cause: damage.cause.to_string(),
        };
        Self {
            records: info.records,
            next_sequence: info.segments.last().map_or(0, |last| last.first + last.records),
            disk_bytes: info.disk_bytes,
            torn_bytes: info.torn_bytes,
            damaged_files: info.damaged_files,
            damaged_file_bytes: info.damaged_file_bytes,
            segments: info.segments.into_iter().map(segment).collect(),
            damage: info.damage.into_iter().map(damage).collect(),
        }
    }
}
