//! Standard input, cut into frames.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use kinesis_sink::limits::MAX_RECORD_BYTES;
use memchr::memchr;
use tokio::io::{Stdin, stdin};
use tokio_util::codec::{Decoder, FramedRead, LengthDelimitedCodec};

use crate::arguments::Format;

/// As much as is read at once, if it is there. A pipe holds no more than 64 KiB on Linux.
const READ_BYTES: usize = 128 * 1024;

const LENGTH_BYTES: usize = 4;

/// The byte order mark that some programs put before UTF-8. It belongs to no line.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// What comes in.
pub type Input = FramedRead<Stdin, Framing>;

pub fn open(format: Format) -> Input {
    FramedRead::with_capacity(stdin(), Framing::new(format), READ_BYTES)
}

/// What may become a record.
pub enum Frame {
    /// With its line break, if it has one.
    Whole(Bytes),
    /// A line of more bytes than any record may have. They are not kept.
    Endless,
}

/// Why no more comes in.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    #[error("cannot read standard input")]
    Read(#[from] io::Error),
    #[error("claims to have more than {MAX_RECORD_BYTES} bytes: is this --format length-prefixed?")]
    Length,
    #[error("breaks off: the input ends inside of it")]
    BreaksOff,
}

/// Cuts the input into frames, each in memory of its own: a record that waits for long must not keep the
/// whole buffer that it was read into.
pub enum Framing {
    Lines {
        /// Whether the beginning of the input has been read.
        begun: bool,
        /// So much of the buffer has no line break.
        searched: usize,
        /// The rest of the line is passed over.
        endless: bool,
    },
    LengthPrefixed(LengthDelimitedCodec),
}

impl Framing {
    fn new(format: Format) -> Self {
        match format {
            Format::Lines | Format::Ndjson => {
                Self::Lines { begun: false, searched: 0, endless: false }
            }
            // The length stays in the buffer, and in the frame, so that an input that ends after it does
            // not look as if it ended between two frames.
            Format::LengthPrefixed => Self::LengthPrefixed(
                LengthDelimitedCodec::builder()
                    .length_field_length(LENGTH_BYTES)
                    .max_frame_length(MAX_RECORD_BYTES)
                    .length_adjustment(LENGTH_BYTES as isize)
                    .num_skip(0)
                    .new_codec(),
            ),
        }
    }
}

impl Decoder for Framing {
    type Item = Frame;
    type Error = InputError;

    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, InputError> {
        match self {
            Self::Lines { begun, .. } if !*begun && is_short_of_mark(buffer) => Ok(None),
            Self::Lines { begun, searched, endless } => {
                if !std::mem::replace(begun, true) && buffer.starts_with(MARK) {
                    buffer.advance(MARK.len());
                }
                Ok(line(buffer, searched, endless))
            }
            Self::LengthPrefixed(codec) => {
                let frame = codec.decode(buffer).map_err(|_| InputError::Length)?;
                Ok(frame.map(|frame| Frame::Whole(Bytes::copy_from_slice(&frame[LENGTH_BYTES..]))))
            }
        }
    }

    fn decode_eof(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, InputError> {
        if let Some(frame) = self.decode(buffer)? {
            return Ok(Some(frame));
        }
        match self {
            _ if buffer.is_empty() => Ok(None),
            Self::LengthPrefixed(_) => Err(InputError::BreaksOff),
            Self::Lines { endless: true, .. } => {
                buffer.clear();
                Ok(None)
            }
            // Its line break is missing.
            Self::Lines { searched, .. } => {
                *searched = 0;
                Ok(Some(Frame::Whole(Bytes::copy_from_slice(&buffer.split()))))
            }
        }
    }
}

/// Whether the buffer is too short to decide whether it begins with a byte order mark.
fn is_short_of_mark(buffer: &[u8]) -> bool {
    buffer.len() < MARK.len() && MARK.starts_with(buffer)
}

/// The next line, as soon as all of it is there, or too much.
fn line(buffer: &mut BytesMut, searched: &mut usize, endless: &mut bool) -> Option<Frame> {
    loop {
        let Some(at) = memchr(b'\n', &buffer[*searched..]) else {
            *searched = buffer.len();
            // With room for its line break of two bytes.
            if buffer.len() <= MAX_RECORD_BYTES + 2 {
                return None;
            }
            buffer.clear();
            *searched = 0;
            if !std::mem::replace(endless, true) {
                return Some(Frame::Endless);
            }
            return None;
        };
        let line = buffer.split_to(*searched + at + 1);
        *searched = 0;
        if !std::mem::take(endless) {
            return Some(Frame::Whole(Bytes::copy_from_slice(&line)));
        }
    }
}

/// The line without its line break.
pub fn without_line_break(line: &Bytes) -> Bytes {
    let text = line.strip_suffix(b"\n").map(|text| text.strip_suffix(b"\r").unwrap_or(text));
    line.slice(..text.unwrap_or(line).len())
}
