use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use super::log::LogSettings;
use crate::build_error::{BuildError, Bytes};
#[cfg(feature = "serde")]
use crate::settings::read;
use crate::stream::StreamId;

/// Part of a path that is replaced by the name of the stream.
const PLACEHOLDER: &str = "{stream}";

const MIB: u64 = 1 << 20;

const MILLISECOND: Duration = Duration::from_millis(1);
const MINUTE: Duration = Duration::from_secs(60);

/// Settings of a durable spool.
///
/// [`SinkBuilder::with_spool`](crate::SinkBuilder::with_spool) adds the spool to a sink. The [module](super) describes
/// what a spool does.
///
/// ```
/// use std::time::Duration;
/// use kinesis_sink::spool::{Spool, Sync, WhenFull};
///
/// let spool = Spool::at("/var/lib/app/clicks")
///     .with_max_bytes(10 << 30)
///     .with_sync(Sync::Interval(Duration::from_millis(100)))
///     .when_full(WhenFull::Wait);
/// ```
///
/// # Configuration files
///
/// With the feature `serde`, a spool can be deserialized from a configuration file, also as the key `spool` of
/// [`Settings`](crate::Settings). Only `path` is required. The following values are the defaults, except for the path:
///
/// ```
/// use kinesis_sink::spool::Spool;
///
/// # #[cfg(feature = "serde")] {
/// let spool: Spool = toml::from_str(r#"
///     path = "/var/lib/app/clicks"
///     max_bytes = "1GiB"
///     segment_bytes = "16MiB"
///     sync = { interval = "100ms" }       # or "always", "never"
///     when_full = "wait"                  # or "refuse", "drop_oldest"
///     mode = "write_ahead"                # or "overflow"
///     strict = false
/// "#)?;
/// assert_eq!(spool, Spool::at("/var/lib/app/clicks"));
/// # }
/// # Ok::<_, toml::de::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
#[must_use = "a spool does nothing until it is added to a sink"]
pub struct Spool(Box<Fields>);

/// Boxed, because most sinks have no spool, and a program can have many.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename = "Spool", deny_unknown_fields))]
struct Fields {
    path: PathBuf,
    #[cfg_attr(
        feature = "serde",
        serde(default = "default_max_bytes", deserialize_with = "read::spool_max_bytes")
    )]
    max_bytes: u64,
    #[cfg_attr(
        feature = "serde",
        serde(default = "default_segment_bytes", deserialize_with = "read::spool_segment_bytes")
    )]
    segment_bytes: u64,
    #[cfg_attr(feature = "serde", serde(default))]
    sync: Sync,
    #[cfg_attr(feature = "serde", serde(default))]
    when_full: WhenFull,
    #[cfg_attr(feature = "serde", serde(default))]
    mode: SpoolMode,
    #[cfg_attr(feature = "serde", serde(default, deserialize_with = "read::spool_strict"))]
    strict: bool,
}

/// Policy for syncing records to the disk. It determines the records that a power cut or a crash of the operating system
/// can lose.
///
/// In every mode, records that were accepted survive a crash of the process. In every mode, a segment that is complete
/// and a spool that is closed are synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Sync {
    /// Syncs before a record is accepted. Records that are sent at the same time share a sync.
    Always,
    /// Syncs at most this long after a record was accepted: 1 ms to 60 s. A power cut loses at most the records of
    /// this time.
    Interval(#[cfg_attr(feature = "serde", serde(with = "humantime_serde"))] Duration),
    /// Leaves it to the operating system, which usually writes within 30 s.
    Never,
}

/// Policy for new records while the disk space of a spool is used up.
///
/// A full disk, an exceeded quota, and the [maximum size](Spool::with_max_bytes) of the spool are the same case. Other
/// errors of the disk are handled in the same way, except that [`DropOldest`](Self::DropOldest) then waits.
///
/// This is not the setting of a router with the same name, [`router::WhenFull`](crate::router::WhenFull).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum WhenFull {
    /// `send` and `put` wait until records are delivered and their space is available again, in the order of the calls.
    #[default]
    Wait,
    /// Returns the record in an error with the kind [`ErrorKind::SpoolFull`](crate::ErrorKind::SpoolFull).
    Refuse,
    /// Passes the oldest records to their receipts or to the dead-letter handler, with the reason
    /// [`FailureReason::SpoolFull`](crate::record::FailureReason::SpoolFull), until there is space.
    ///
    /// The sink must have a [dead-letter handler](crate::SinkBuilder::with_dead_letters), which is called in the
    /// thread of the spool. Records that are in memory are not dropped, because they are about to be sent. If the
    /// handler returns a record, or if no segment can be freed without dropping the newest records or those in memory,
    /// new records wait.
    DropOldest,
}

/// Which records are written to the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum SpoolMode {
    /// All records are written before they are sent.
    #[default]
    WriteAhead,
    /// Records are written only while the buffer is full, for example during an outage. In addition, the records in the
    /// buffer are written when the producer is closed with a deadline before they are delivered.
    ///
    /// While the spool contains records that have not been read back, all new records are written to it, so that the
    /// order of the records is kept. Records that are only in the buffer do not survive a crash of the process.
    Overflow,
}

impl Default for Sync {
    /// Returns [`Interval`](Self::Interval) with 100 ms.
    fn default() -> Self {
        Self::Interval(Duration::from_millis(100))
    }
}

fn default_max_bytes() -> u64 {
    1 << 30
}

fn default_segment_bytes() -> u64 {
    16 * MIB
}

impl Spool {
    /// Creates the settings of a spool in the directory `path`.
    ///
    /// The directory is created if it does not exist. It must not contain other files, and each sink needs its own
    /// directory. `{stream}` in the path is replaced by the name of the stream, so that the streams of a
    /// [router](crate::Router) can have the same settings.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(Box::new(Fields {
            path: path.into(),
            max_bytes: default_max_bytes(),
            segment_bytes: default_segment_bytes(),
            sync: Sync::default(),
            when_full: WhenFull::default(),
            mode: SpoolMode::default(),
            strict: false,
        }))
    }

    /// Sets the maximum size of the spool on disk in bytes: 1 MiB to 1 PiB. Default: 1 GiB.
    ///
    /// The size includes preallocated space and acknowledgements, but not the damaged bytes that were set aside. Space
    /// is given back by whole segments, so a record that is not delivered can keep the space of a segment.
    pub fn with_max_bytes(mut self, bytes: u64) -> Self {
        self.0.max_bytes = bytes;
        self
    }

    /// Sets the size of a segment in bytes: 64 KiB to 1 GiB. Default: 16 MiB.
    ///
    /// A segment has at most a quarter of [`max_bytes`](Self::with_max_bytes), and a record must fit into a segment.
    pub fn with_segment_bytes(mut self, bytes: u64) -> Self {
        self.0.segment_bytes = bytes;
        self
    }

    /// Sets when records are synced to the disk. Default: [`Sync::Interval`] with 100 ms.
    pub fn with_sync(mut self, sync: Sync) -> Self {
        self.0.sync = sync;
        self
    }

    /// Sets what happens to new records when the disk space is used up. Default: [`WhenFull::Wait`].
    pub fn when_full(mut self, when_full: WhenFull) -> Self {
        self.0.when_full = when_full;
        self
    }

    /// Sets which records are written to the spool. Default: [`SpoolMode::WriteAhead`].
    pub fn with_mode(mut self, mode: SpoolMode) -> Self {
        self.0.mode = mode;
        self
    }

    /// Sets whether a damaged spool is an error. Default: `false`.
    ///
    /// By default, a sink starts with a damaged spool, and only the damaged records are lost. A strict spool is read
    /// completely when it is opened, and any damage is a [`BuildError`] that names the file and the offset. An
    /// incomplete write at the end of a segment is not damage, because its record was not accepted.
    pub fn strict(mut self, strict: bool) -> Self {
        self.0.strict = strict;
        self
    }

    /// Returns the directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Returns the mode.
    #[must_use]
    pub fn mode(&self) -> SpoolMode {
        self.0.mode
    }

    pub(crate) fn sync(&self) -> Sync {
        self.0.sync
    }

    pub(crate) fn full_policy(&self) -> WhenFull {
        self.0.when_full
    }

    /// Returns the settings with the [placeholder](Self::at) in the directory replaced.
    pub(crate) fn for_stream(&self, stream: &StreamId) -> Self {
        let replace = |part: Component<'_>| match part.as_os_str().to_str() {
            // A name can begin with a dot, and must not be a relative path.
            Some(text) if text.contains(PLACEHOLDER) => {
                let name = stream.name();
                let name = if name.starts_with('.') { format!("_{name}") } else { name.to_owned() };
                PathBuf::from(text.replace(PLACEHOLDER, &name))
            }
            _ => PathBuf::from(part.as_os_str()),
        };
        let path = self.0.path.components().map(replace).collect();
        Self(Box::new(Fields { path, ..Fields::clone(&self.0) }))
    }

    /// Returns the maximum size of a record, including its partition key, that fits into a segment.
    pub(crate) fn max_record_bytes(&self) -> usize {
        // More than a segment's header and footer and a frame's header.
        const OVERHEAD: u64 = 4 << 10;
        let segment = self.0.segment_bytes.min(self.0.max_bytes / 4);
        usize::try_from(segment.saturating_sub(OVERHEAD)).unwrap_or(usize::MAX)
    }

    pub(crate) fn log_settings(&self) -> LogSettings {
        LogSettings {
            max_bytes: self.0.max_bytes,
            segment_bytes: self.0.segment_bytes,
            keeps_unsynced: self.0.sync != Sync::Never,
            strict: self.0.strict,
        }
    }

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// Returns [`BuildError::OutOfRange`] if a setting is outside its range.
    pub fn validate(&self) -> Result<(), BuildError> {
        let max_bytes = Bytes(MIB)..=Bytes(1 << 50);
        BuildError::check_range("max_bytes", Bytes(self.0.max_bytes), max_bytes)?;
        let segment_bytes = Bytes(64 << 10)..=Bytes(1 << 30);
        BuildError::check_range("segment_bytes", Bytes(self.0.segment_bytes), segment_bytes)?;
        if let Sync::Interval(interval) = self.0.sync {
            BuildError::check_range("sync.interval", interval, MILLISECOND..=MINUTE)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Spool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fields { path, max_bytes, segment_bytes, sync, when_full, mode, strict } = &*self.0;
        f.debug_struct("Spool")
            .field("path", path)
            .field("max_bytes", max_bytes)
            .field("segment_bytes", segment_bytes)
            .field("sync", sync)
            .field("when_full", when_full)
            .field("mode", mode)
            .field("strict", strict)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_out_of_range_are_rejected() {
        let spool = || Spool::at("spool");
        assert_eq!(spool().validate(), Ok(()));
        let invalid = [
            (
                spool().with_max_bytes(MIB - 1),
                "max_bytes is 1048575B; set it between 1MiB and 1024TiB",
            ),
            (spool().with_segment_bytes(1), "segment_bytes is 1B; set it between 64KiB and 1GiB"),
            (
                spool().with_sync(Sync::Interval(Duration::ZERO)),
                "sync.interval is 0s; set it between 1ms and 1m",
            ),
        ];
        for (spool, message) in invalid {
            assert_eq!(spool.validate().unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn record_fits_into_quarter_of_maximum() {
        let spool = Spool::at("spool").with_max_bytes(4 * MIB);
        assert_eq!(spool.max_record_bytes(), (1 << 20) - (4 << 10));
        assert_eq!(spool.with_max_bytes(1 << 40).max_record_bytes(), (16 << 20) - (4 << 10));
    }

    #[test]
    fn placeholder_is_replaced_by_stream_name() {
        let path = |path: &str, stream: &str| {
            Spool::at(path).for_stream(&stream.parse().unwrap()).path().to_owned()
        };
        assert_eq!(path("/var/{stream}/spool", "clicks"), Path::new("/var/clicks/spool"));
        assert_eq!(path("spools/of-{stream}", "clicks"), Path::new("spools/of-clicks"));
        assert_eq!(path("/var/{stream}", ".."), Path::new("/var/_.."));
        assert_eq!(path("/var/spool", "clicks"), Path::new("/var/spool"));
    }
}
