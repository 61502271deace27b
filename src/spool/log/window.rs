//! Search for frames in a file, through a window of bounded size.

use std::io;

use memchr::memmem;

use crate::spool::files::Files;
use crate::spool::format::{FRAME_HEADER_BYTES, FRAME_MAGIC, FrameHeader, SEGMENT_HEADER_BYTES};

/// Number of bytes that are read at once.
const CHUNK_BYTES: usize = 256 << 10;

/// If a chunk cannot be read, it is read in blocks of this size, and only the unreadable blocks are lost.
const BLOCK_BYTES: usize = 4 << 10;

/// Part of a file in memory.
#[derive(Debug, Default)]
pub(crate) struct Window {
    bytes: Vec<u8>,
    /// Offset of the first byte in the file.
    start: u64,
    /// Whether some of the bytes could not be read and are zeros.
    unreadable: bool,
}

/// Frames of a segment that are searched.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frames {
    pub(crate) salt: u32,
    /// Sequence number of the first record in the segment.
    pub(crate) first: u64,
    /// Offset after the last frame.
    pub(crate) end: u64,
}

/// Result of [`Window::find`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// A valid header at the offset.
    Header(FrameHeader),
    /// No valid header at the offset. The next one is at this offset, which is the end of the frames if there is none.
    Invalid(u64),
    /// The offset is at the end of the frames.
    End,
}

impl Window {
    /// Forgets the contents, because another file is read.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.start = 0;
        self.unreadable = false;
    }

    #[cfg(test)]
    pub(crate) fn bytes_in_memory(&self) -> usize {
        self.bytes.capacity()
    }

    /// Returns `true` if bytes in the window could not be read.
    pub(crate) fn has_unreadable(&self) -> bool {
        self.unreadable
    }

    /// Returns the bytes from `offset` that are in the window: at least `length`, unless they end at `end`.
    ///
    /// Bytes that cannot be read, and those after the end of the file, are zeros.
    pub(crate) fn bytes<F: Files>(
        &mut self,
        files: &F,
        file: &F::File,
        offset: u64,
        length: usize,
        end: u64,
    ) -> &[u8] {
        let rest = usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX);
        let needed = length.min(rest);
        let loaded = self.start + self.bytes.len() as u64;
        if offset < self.start || offset + needed as u64 > loaded {
            if offset >= self.start && offset < loaded {
                self.bytes.drain(..(offset - self.start) as usize);
            } else {
                self.bytes.clear();
                self.unreadable = false;
            }
            if needed <= CHUNK_BYTES && self.bytes.capacity() > 4 * CHUNK_BYTES {
                self.bytes.shrink_to(CHUNK_BYTES);
            }
            self.start = offset;
            let kept = self.bytes.len();
            self.bytes.resize(needed.max(CHUNK_BYTES).min(rest), 0);
            self.unreadable |= read(files, file, offset + kept as u64, &mut self.bytes[kept..]);
        }
        let available = &self.bytes[(offset - self.start) as usize..];
        &available[..available.len().min(rest)]
    }

    /// Searches for the first valid header of a frame at `offset` or after it.
    ///
    /// `expected` is the smallest possible sequence number.
    pub(crate) fn find<F: Files>(
        &mut self,
        files: &F,
        file: &F::File,
        frames: Frames,
        offset: u64,
        expected: u64,
    ) -> Found {
        if offset >= frames.end {
            return Found::End;
        }
        if let Some(header) = self.header(files, file, frames, offset, expected) {
            return Found::Header(header);
        }
        let mut at = offset + 1;
        while at < frames.end {
            let bytes = self.bytes(files, file, at, FRAME_MAGIC.len(), frames.end);
            match memmem::find(bytes, &FRAME_MAGIC) {
                Some(distance) => {
                    at += distance as u64;
                    if self.header(files, file, frames, at, expected).is_some() {
                        return Found::Invalid(at);
                    }
                    at += 1;
                }
                // The magic can start in the last bytes of the window.
                None => {
                    at += (bytes.len() as u64).saturating_sub(FRAME_MAGIC.len() as u64 - 1).max(1)
                }
            }
        }
        Found::Invalid(frames.end)
    }

    /// Parses a header and checks that the frame can be part of the segment.
    fn header<F: Files>(
        &mut self,
        files: &F,
        file: &F::File,
        frames: Frames,
        offset: u64,
        expected: u64,
    ) -> Option<FrameHeader> {
        let bytes = self.bytes(files, file, offset, FRAME_HEADER_BYTES, frames.end);
        let header = FrameHeader::parse(bytes, frames.salt)?;
        // Each record before this one has a frame, so the sequence number has an upper bound.
        let bound = (offset - SEGMENT_HEADER_BYTES) / FRAME_HEADER_BYTES as u64;
        let plausible = header.seq >= expected
            && header.seq - frames.first <= bound
            && offset + header.frame_bytes() as u64 <= frames.end;
        plausible.then_some(header)
    }

    /// Counts the frames of a segment whose checksums cannot be checked, because its salt is not known.
    pub(crate) fn count_frames<F: Files>(&mut self, files: &F, file: &F::File, end: u64) -> u64 {
        let mut count = 0;
        let mut at = 0;
        while at < end {
            let bytes = self.bytes(files, file, at, FRAME_MAGIC.len(), end);
            count += memmem::find_iter(bytes, &FRAME_MAGIC).count() as u64;
            // The magic can start in the last bytes of the window.
            at += (bytes.len() as u64).saturating_sub(FRAME_MAGIC.len() as u64 - 1).max(1);
        }
        count
    }

    /// Returns the offset after the last byte between `start` and `end` that is not zero.
    pub(crate) fn last_nonzero<F: Files>(
        &mut self,
        files: &F,
        file: &F::File,
        start: u64,
        end: u64,
    ) -> u64 {
        let mut last = start;
        let mut at = start;
        while at < end {
            let bytes = self.bytes(files, file, at, 1, end);
            if let Some(place) = bytes.iter().rposition(|byte| *byte != 0) {
                last = at + place as u64 + 1;
            }
            at += bytes.len() as u64;
        }
        last
    }
}

/// Fills the buffer. Returns `true` if a part could not be read, which becomes zeros.
fn read<F: Files>(files: &F, file: &F::File, offset: u64, buffer: &mut [u8]) -> bool {
    // Some errors are transient, for example on a network file system.
    for _ in 0..2 {
        if read_exactly(files, file, offset, buffer).is_ok() {
            return false;
        }
    }
    let mut unreadable = false;
    let mut at = 0;
    while at < buffer.len() {
        let aligned = BLOCK_BYTES - ((offset + at as u64) % BLOCK_BYTES as u64) as usize;
        let end = (at + aligned).min(buffer.len());
        let block = &mut buffer[at..end];
        if read_exactly(files, file, offset + at as u64, block).is_err() {
            block.fill(0);
            unreadable = true;
        }
        at = end;
    }
    unreadable
}

/// Fills the buffer, with zeros after the end of the file.
fn read_exactly<F: Files>(
    files: &F,
    file: &F::File,
    offset: u64,
    buffer: &mut [u8],
) -> io::Result<()> {
    let read = files.read_at(file, offset, buffer)?;
    buffer[read..].fill(0);
    Ok(())
}
