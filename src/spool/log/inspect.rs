//! Inspection of a log without changing it.

use super::damage::DAMAGED_DIRECTORY;
use super::error::{Cause, Damage, LogError};
use super::open::Listing;
use super::scan::{Ends, Gap, read_ends, scan};
use super::segment::{Segment, ack_name, segment_name};
use super::types::{LogInfo, SegmentInfo};
use super::window::{Frames, Window};
use crate::spool::files::Files;
use crate::spool::format::{Header, ParsedAcks, parse_acks};

/// Maximum size of an acknowledgement file that is read.
const MAX_ACK_BYTES: u64 = 64 << 20;

/// Reads the index of a log, without a lock and without changing anything.
///
/// Takes time proportional to the number of segments, and reads unsealed segments. While another process uses the log,
/// the result is approximate.
///
/// # Errors
///
/// Returns an error if the directory or its files cannot be read, or have an unknown version.
pub(crate) fn inspect<F: Files>(files: &F) -> Result<LogInfo, LogError> {
    examine(files, false)
}

/// Reads and checks all records of a log, without a lock and without changing anything.
///
/// # Errors
///
/// Returns an error if the directory or its files cannot be read, or have an unknown version. Damage is no error.
pub(crate) fn verify<F: Files>(files: &F) -> Result<LogInfo, LogError> {
    examine(files, true)
}

fn examine<F: Files>(files: &F, verifies: bool) -> Result<LogInfo, LogError> {
    let listing = Listing::read(files)?;
    let damaged = files.list_in(DAMAGED_DIRECTORY).unwrap_or_default();
    let mut info = LogInfo {
        damaged_files: damaged.len() as u64,
        damaged_file_bytes: damaged.iter().map(|(_, size)| size).sum(),
        ..LogInfo::default()
    };
    let mut window = Window::default();
    for (index, (first, size)) in listing.segments.iter().enumerate() {
        let following = listing.following(index);
        let Some(mut segment) =
            examine_segment(files, &mut window, *first, *size, following, verifies, &mut info)?
        else {
            continue;
        };
        let mut bytes = *size;
        if listing.acks.contains_key(first)
            && let Some((acks, damage)) = read_acks(files, &mut window, *first, segment.salt)
        {
            bytes += acks.end as u64;
            let records = segment.number(segment.next);
            for range in acks.ranges {
                segment.acked.insert(range.start.min(records)..range.end.min(records));
            }
            info.damage.extend(damage);
        }
        info.disk_bytes += bytes;
        info.records += segment.unacked();
        info.segments.push(SegmentInfo {
            first: *first,
            records: segment.next - first,
            unacknowledged: segment.unacked(),
            bytes,
            sealed: segment.sealed,
            oldest_accepted_at_ms: segment.oldest_accepted_at_ms,
        });
    }
    Ok(info)
}

/// Reads a segment. Returns `None` if it is damaged or was removed.
fn examine_segment<F: Files>(
    files: &F,
    window: &mut Window,
    first: u64,
    size: u64,
    following: u64,
    verifies: bool,
    info: &mut LogInfo,
) -> Result<Option<Segment>, LogError> {
    let name = segment_name(first);
    let path = files.path().join(&name);
    let file = match files.open_read_only(&name) {
        Ok(file) => file,
        // The owner has removed the segment meanwhile.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(LogError::Io { action: "open", path, source }),
    };
    let damage = |offset, bytes, records, cause| Damage {
        file: path.clone(),
        offset,
        bytes,
        records,
        cause,
    };
    let newest = following == u64::MAX;
    let ends = read_ends(files, window, &file, &name, first, size)?;
    let (header, intact, end, sealed_next) = match ends {
        Ends::Sealed(footer, intact) => {
            (Header { salt: footer.salt, first }, intact, footer.end, Some(footer.next))
        }
        Ends::Unsealed(header, intact) => (header, intact, size, None),
        Ends::Broken => {
            let used = window.last_nonzero(files, &file, 0, size);
            let frames = window.count_frames(files, &file, size);
            window.clear();
            if used > 0 || !newest {
                let records = if newest { frames } else { following - first };
                info.damage.push(damage(0, size, records, Cause::Header));
            }
            return Ok(None);
        }
    };
    let mut segment = Segment::new(0, header);
    segment.end = end;
    segment.sealed = sealed_next.is_some();
    if let Ends::Sealed(footer, _) = ends {
        segment.next = footer.next.min(following);
        segment.oldest_accepted_at_ms = Some(footer.oldest_accepted_at_ms);
    }
    if verifies && !intact {
        info.damage.push(damage(0, crate::spool::format::SEGMENT_HEADER_BYTES, 0, Cause::Header));
    }
    if sealed_next.is_none() || verifies {
        let frames = Frames { salt: header.salt, first, end };
        let mut scanned = scan(files, window, &file, frames, following);
        window.clear();
        let expected = match sealed_next {
            Some(next) => Some(next.min(following)),
            None if newest => None,
            None => Some(following),
        };
        match expected {
            Some(next) if scanned.next < next || scanned.torn_bytes > 0 => {
                let lost = scanned.next.min(next)..next;
                let cause = match (sealed_next, lost.is_empty()) {
                    (Some(_), _) => Cause::Frame,
                    (None, true) => Cause::Footer,
                    (None, false) => Cause::Missing,
                };
                let (offset, bytes) = (scanned.end, scanned.torn_bytes);
                scanned.gaps.push(Gap { offset, bytes, records: lost, cause });
            }
            Some(_) => {}
            None => match scanned.unreadable_end(first, size) {
                Some(gap) => scanned.gaps.push(gap),
                None => info.torn_bytes += scanned.torn_bytes,
            },
        }
        for gap in scanned.gaps {
            let lost = gap.records.end - gap.records.start;
            info.damage.push(damage(gap.offset, gap.bytes, lost, gap.cause));
        }
        if sealed_next.is_none() {
            segment.next = scanned.next;
            segment.end = scanned.end;
            segment.oldest_accepted_at_ms = scanned.oldest_accepted_at_ms;
        }
    }
    Ok(Some(segment))
}

/// Reads the acknowledgements of a segment. Returns `None` if the file cannot be opened.
pub(super) fn read_acks<F: Files>(
    files: &F,
    window: &mut Window,
    first: u64,
    salt: u32,
) -> Option<(ParsedAcks, Option<Damage>)> {
    let name = ack_name(first);
    let file = files.open_read_only(&name).ok()?;
    let size = files.size(&file).ok()?.min(MAX_ACK_BYTES);
    window.clear();
    let acks = parse_acks(window.bytes(files, &file, 0, size as usize, size), salt);
    window.clear();
    let damage = acks.damage.clone().map(|bytes| Damage {
        file: files.path().join(name),
        offset: bytes.start as u64,
        bytes: (bytes.end - bytes.start) as u64,
        records: 0,
        cause: Cause::Acknowledgement,
    });
    Some((acks, damage))
}
