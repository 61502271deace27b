use std::io;

use bytes::{Buf, Bytes, BytesMut};
use kinesis_sink::limits::MAX_RECORD_BYTES;
use memchr::memchr;
use tokio::io::{AsyncRead, empty, stdin};
use tokio_util::codec::{Decoder, FramedRead, LengthDelimitedCodec};

use crate::arguments::Format;
use crate::dead_letter::MAX_LINE_BYTES;

/// Initial capacity of the read buffer. For comparison, a pipe holds 64 KiB on Linux.
const READ_BYTES: usize = 128 * 1024;

const LENGTH_BYTES: usize = 4;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

pub type Input = FramedRead<Box<dyn AsyncRead + Send + Unpin>, FrameDecoder>;

pub fn open(format: Format) -> Input {
    FramedRead::with_capacity(Box::new(stdin()), FrameDecoder::new(format), READ_BYTES)
}

/// Returns an input that ends at once.
pub fn none(format: Format) -> Input {
    FramedRead::new(Box::new(empty()), FrameDecoder::new(format))
}

pub enum Frame {
    /// A complete frame. A line includes its line break, if there is one.
    Complete(Bytes),
    /// A line that exceeds the record size limit. The data of the line is discarded.
    TooLong,
}

/// An error that ends the input.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    #[error("cannot read standard input")]
    Read(#[from] io::Error),
    #[error("length exceeds {MAX_RECORD_BYTES} bytes: check --format")]
    Length,
    #[error("input ends within the frame")]
    Truncated,
    /// The data of such a line is lost, so a dead-letter file is not read beyond it.
    #[error("longer than {MAX_LINE_BYTES} bytes: not a line of a dead-letter file")]
    DeadLetterTooLong,
}

/// Splits the input into frames. Copies them, because a slice would keep the whole read buffer in memory.
pub enum FrameDecoder {
    Lines {
        /// Set to `true` after the check for a byte order mark at the start of the input.
        started: bool,
        /// Number of bytes at the start of the buffer that contain no line break.
        searched: usize,
        discarding: bool,
        max_bytes: usize,
        /// Whether a line that exceeds the limit ends the input.
        strict: bool,
    },
    LengthPrefixed(LengthDelimitedCodec),
}

impl FrameDecoder {
    fn new(format: Format) -> Self {
        match format {
            Format::Lines | Format::Ndjson => Self::lines(MAX_RECORD_BYTES, false),
            Format::DeadLetters => Self::lines(MAX_LINE_BYTES, true),
            // The length stays in the buffer, so that `decode_eof` can detect input that ends right after a length.
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

    fn lines(max_bytes: usize, strict: bool) -> Self {
        Self::Lines { started: false, searched: 0, discarding: false, max_bytes, strict }
    }
}

impl Decoder for FrameDecoder {
    type Item = Frame;
    type Error = InputError;

    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, InputError> {
        match self {
            Self::Lines { started: false, .. } if may_become_mark(buffer) => Ok(None),
            Self::Lines { started, searched, discarding, max_bytes, strict } => {
                if !std::mem::replace(started, true) && buffer.starts_with(BYTE_ORDER_MARK) {
                    buffer.advance(BYTE_ORDER_MARK.len());
                }
                match next_line(buffer, searched, discarding, *max_bytes) {
                    Some(Frame::TooLong) if *strict => Err(InputError::DeadLetterTooLong),
                    line => Ok(line),
                }
            }
            Self::LengthPrefixed(codec) => {
                let frame = codec.decode(buffer).map_err(|_| InputError::Length)?;
                Ok(frame
                    .map(|frame| Frame::Complete(Bytes::copy_from_slice(&frame[LENGTH_BYTES..]))))
            }
        }
    }

    fn decode_eof(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, InputError> {
        if let Some(frame) = self.decode(buffer)? {
            return Ok(Some(frame));
        }
        match self {
            _ if buffer.is_empty() => Ok(None),
            Self::LengthPrefixed(_) => Err(InputError::Truncated),
            Self::Lines { discarding: true, .. } => {
                buffer.clear();
                Ok(None)
            }
            // The last line of the input has no line break.
            Self::Lines { searched, .. } => {
                *searched = 0;
                Ok(Some(Frame::Complete(Bytes::copy_from_slice(&buffer.split()))))
            }
        }
    }
}

fn may_become_mark(buffer: &[u8]) -> bool {
    buffer.len() < BYTE_ORDER_MARK.len() && BYTE_ORDER_MARK.starts_with(buffer)
}

fn next_line(
    buffer: &mut BytesMut,
    searched: &mut usize,
    discarding: &mut bool,
    max_bytes: usize,
) -> Option<Frame> {
    loop {
        let Some(at) = memchr(b'\n', &buffer[*searched..]) else {
            *searched = buffer.len();
            // A line break has up to two bytes, which do not count toward the record size.
            if buffer.len() <= max_bytes + 2 {
                return None;
            }
            buffer.clear();
            *searched = 0;
            return if std::mem::replace(discarding, true) { None } else { Some(Frame::TooLong) };
        };
        let line = buffer.split_to(*searched + at + 1);
        *searched = 0;
        if !std::mem::take(discarding) {
            return Some(Frame::Complete(Bytes::copy_from_slice(&line)));
        }
    }
}

/// Returns the line without the line break, which is `\n` or `\r\n`.
pub fn without_line_break(line: &Bytes) -> Bytes {
    let text = line.strip_suffix(b"\n").map(|text| text.strip_suffix(b"\r").unwrap_or(text));
    line.slice(..text.unwrap_or(line).len())
}
