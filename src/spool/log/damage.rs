//! Reports of damage, and the files with damaged bytes.

use std::io;
use std::ops::Range;

use super::error::{Damage, LogEvent};
use super::segment::segment_name;
use super::{Log, SEGMENT_SUFFIX};
use crate::spool::files::Files;

/// Subdirectory for damaged bytes.
pub(crate) const DAMAGED_DIRECTORY: &str = "damaged";

/// Maximum size of all files with damaged bytes. It is also limited to the size of the spool.
const MAX_SET_ASIDE_BYTES: u64 = 64 << 20;

/// Maximum number of files with damaged bytes.
const MAX_SET_ASIDE_FILES: u64 = 1_000;

/// Files with damaged bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SetAside {
    bytes: u64,
    files: u64,
}

/// Number of events that are kept until they are taken.
const MAX_EVENTS: usize = 1_000;

const COPY_BYTES: u64 = 64 << 10;

impl<F: Files> Log<F> {
    pub(super) fn push_event(&mut self, event: LogEvent) {
        if self.events.len() < MAX_EVENTS {
            self.events.push(event);
        }
    }

    pub(super) fn report_damage(&mut self, damage: Damage) {
        self.damaged_frames += 1;
        self.damaged_records += damage.records;
        self.push_event(LogEvent::Damage(damage));
    }

    /// Copies damaged bytes to a file, if the total size permits it.
    ///
    /// Errors are ignored, because the copy only helps to find the cause.
    pub(super) fn set_aside(&mut self, file: &F::File, first: u64, bytes: Range<u64>) {
        if bytes.is_empty() || !self.can_set_aside(bytes.end - bytes.start) {
            return;
        }
        let name = format!("{DAMAGED_DIRECTORY}/{first:020}-{}.bin", bytes.start);
        let Ok(copy) = self.files.create(&name) else { return };
        let mut buffer = Vec::new();
        let mut at = bytes.start;
        while at < bytes.end {
            buffer.clear();
            buffer.resize((bytes.end - at).min(COPY_BYTES) as usize, 0);
            // Unreadable bytes are copied as zeros.
            let _ = self.files.read_at(file, at, &mut buffer);
            if self.files.write_at(&copy, at - bytes.start, &buffer).is_err() {
                drop(copy);
                let _ = self.files.remove(&name);
                return;
            }
            at += buffer.len() as u64;
        }
        self.count_set_aside(bytes.end - bytes.start);
    }

    /// Moves a segment that cannot be read to the subdirectory, which needs no space. It is never removed, because a read
    /// can succeed later.
    pub(super) fn set_aside_segment(&mut self, first: u64, bytes: u64) -> io::Result<()> {
        let name = segment_name(first);
        self.entries_dirty = true;
        // Creates the subdirectory.
        self.can_set_aside(bytes);
        let target = format!("{DAMAGED_DIRECTORY}/{first:020}{SEGMENT_SUFFIX}");
        self.files.rename(&name, &target)?;
        self.count_set_aside(bytes);
        Ok(())
    }

    fn can_set_aside(&mut self, bytes: u64) -> bool {
        let used = match self.set_aside {
            Some(used) => used,
            None => {
                if self.files.create_subdirectory(DAMAGED_DIRECTORY).is_err() {
                    return false;
                }
                let files = self.files.list_in(DAMAGED_DIRECTORY).unwrap_or_default();
                let bytes = files.iter().map(|(_, size)| size).sum();
                SetAside { bytes, files: files.len() as u64 }
            }
        };
        self.set_aside = Some(used);
        used.bytes + bytes <= MAX_SET_ASIDE_BYTES.min(self.settings.max_bytes)
            && used.files < MAX_SET_ASIDE_FILES
    }

    fn count_set_aside(&mut self, bytes: u64) {
        let used = self.set_aside.get_or_insert_default();
        used.bytes += bytes;
        used.files += 1;
    }
}
