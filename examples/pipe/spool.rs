//! The options of the spool, and the modes that look into one.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use indicatif::{DecimalBytes, HumanCount, HumanDuration};
use kinesis_sink::spool::{Spool, SpoolInfo, Sync};

#[derive(Debug, Args)]
pub struct SpoolOptions {
    /// Directory in which records are stored until they are delivered. Records that a killed process left
    /// there are sent first. Needs --stream, --region, or --endpoint
    #[arg(long, value_name = "DIR", group = "spool_mode")]
    spool: Option<PathBuf>,

    /// Maximum size of the spool on disk, in bytes. Standard input is not read while it is full [default: 1 GiB]
    #[arg(long, value_name = "BYTES")]
    spool_max_bytes: Option<u64>,

    /// When records are synced to the disk, which decides what a power cut can lose
    #[arg(long, value_enum, default_value_t)]
    spool_sync: SyncMode,

    /// Send the records of a spool, without reading standard input
    #[arg(long, value_name = "DIR", group = "spool_mode")]
    spool_drain: Option<PathBuf>,

    /// Print the contents of a spool, also while another process uses it
    #[arg(long, value_name = "DIR", group = "spool_mode")]
    spool_info: Option<PathBuf>,

    /// Read every record of a spool, and print its contents and its damage
    #[arg(long, value_name = "DIR", group = "spool_mode")]
    spool_verify: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum SyncMode {
    /// Before more input is read
    Always,
    /// Every 100 ms
    #[default]
    Interval,
    /// When the operating system does it
    Never,
}

/// The purpose for which a spool is opened.
#[derive(Debug, Clone, Copy)]
pub enum Mode<'a> {
    Send(&'a Path),
    Drain(&'a Path),
    Info(&'a Path),
    Verify(&'a Path),
}

impl SpoolOptions {
    pub fn mode(&self) -> Option<Mode<'_>> {
        let Self { spool, spool_drain, spool_info, spool_verify, .. } = self;
        None.or(spool.as_deref().map(Mode::Send))
            .or(spool_drain.as_deref().map(Mode::Drain))
            .or(spool_info.as_deref().map(Mode::Info))
            .or(spool_verify.as_deref().map(Mode::Verify))
    }

    pub fn needs_stream(&self) -> bool {
        matches!(self.mode(), Some(Mode::Send(_) | Mode::Drain(_)))
    }

    /// Returns the directory whose records are sent.
    pub fn directory(&self) -> Option<&Path> {
        match self.mode()? {
            Mode::Send(path) | Mode::Drain(path) => Some(path),
            Mode::Info(_) | Mode::Verify(_) => None,
        }
    }

    /// Returns the settings of the spool whose records are sent.
    pub fn spool(&self) -> Option<Spool> {
        let spool = Spool::at(self.directory()?).with_sync(match self.spool_sync {
            SyncMode::Always => Sync::Always,
            SyncMode::Interval => Sync::Interval(Duration::from_millis(100)),
            SyncMode::Never => Sync::Never,
        });
        Some(match self.spool_max_bytes {
            Some(bytes) => spool.with_max_bytes(bytes),
            None => spool,
        })
    }
}

/// Inspects or verifies a spool. Returns the table, and whether the spool is undamaged.
pub fn describe(directory: &Path, verify: bool) -> anyhow::Result<(String, bool)> {
    let spool = Spool::at(directory);
    let info = if verify { spool.verify()? } else { spool.inspect()? };
    Ok((table(directory, &info)?, info.damage.is_empty()))
}

fn table(directory: &Path, info: &SpoolInfo) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    let out = &mut text;
    let oldest = info.segments.iter().filter(|segment| segment.unacknowledged > 0);
    let oldest = oldest.filter_map(|segment| segment.oldest_accepted_at).min();
    writeln!(out, "spool             {}", directory.display())?;
    writeln!(out, "undelivered       {} records", HumanCount(info.records))?;
    writeln!(out, "accepted so far   {} records", HumanCount(info.next_sequence))?;
    if let Some(age) = oldest.and_then(|oldest| oldest.elapsed().ok()) {
        writeln!(out, "oldest            {} ago", HumanDuration(age))?;
    }
    writeln!(out, "on disk           {}", DecimalBytes(info.disk_bytes))?;
    if info.torn_bytes > 0 {
        writeln!(out, "incomplete write  {}", DecimalBytes(info.torn_bytes))?;
    }
    if info.damaged_files > 0 {
        let bytes = DecimalBytes(info.damaged_file_bytes);
        writeln!(out, "set aside         {} files, {bytes}, in damaged/", info.damaged_files)?;
    }
    writeln!(
        out,
        "\n{:>20}  {:>12}  {:>12}  {:>10}",
        "segment", "records", "undelivered", "bytes"
    )?;
    for segment in &info.segments {
        let state = if segment.sealed { "" } else { "  open" };
        writeln!(
            out,
            "{:>20}  {:>12}  {:>12}  {:>10}{state}",
            segment.first, segment.records, segment.unacknowledged, segment.bytes
        )?;
    }
    for damage in &info.damage {
        writeln!(
            out,
            "\ndamaged: {} at byte {}: {}, {} bytes, {} records lost",
            damage.file.display(),
            damage.offset,
            damage.cause,
            damage.bytes,
            damage.records,
        )?;
    }
    Ok(text)
}

/// Records that are left in a spool when the program ends.
#[derive(Debug, Default)]
pub struct Remainder {
    pub directory: PathBuf,
    pub records: u64,
}

impl Remainder {
    /// Counts the records in a spool that was closed.
    pub fn of(directory: &Path) -> anyhow::Result<Self> {
        let records = Spool::at(directory).inspect()?.records;
        Ok(Self { directory: directory.to_owned(), records })
    }
}
