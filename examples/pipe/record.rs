use bytes::Bytes;
use kinesis_sink::Record;
use kinesis_sink::record::Key;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::arguments::{Arguments, Format};
use crate::dead_letter::{self, Resent};
use crate::frame_error::FrameError;
use crate::input::{Frame, without_line_break};

pub enum KeySource {
    Random,
    Field { number: u32, delimiter: char },
    Pointer(String),
}

pub struct RecordBuilder {
    format: Format,
    keep_newline: bool,
    key: KeySource,
}

/// A record that is built from a frame.
pub struct Built {
    pub record: Record,
    /// Whether an earlier run may have written the record.
    pub may_have_been_written: bool,
    /// Data to keep if the sink refuses the record.
    pub source: RejectedData,
}

pub struct RejectedFrame {
    pub error: FrameError,
    pub data: RejectedData,
}

#[derive(Clone)]
pub enum RejectedData {
    /// Data of the record.
    Frame(Bytes),
    /// Line of a dead-letter file, which is copied unchanged so that it keeps its keys.
    DeadLetter(Bytes),
    /// The frame was too long to be buffered.
    Discarded,
}

impl Built {
    fn new(record: Record) -> Self {
        let source = RejectedData::Frame(record.data().clone());
        Self { record, may_have_been_written: false, source }
    }

    fn from_dead_letter(line: Bytes) -> Result<Self, RejectedFrame> {
        match dead_letter::parse(&line) {
            Ok(Resent { record, may_have_been_written }) => {
                let source = RejectedData::DeadLetter(line);
                Ok(Self { record, may_have_been_written, source })
            }
            Err(error) => {
                let data = RejectedData::DeadLetter(line);
                Err(RejectedFrame { error: error.into(), data })
            }
        }
    }
}

impl RecordBuilder {
    pub fn new(arguments: &Arguments) -> Self {
        let Arguments { format, keep_newline, .. } = *arguments;
        Self { format, keep_newline, key: arguments.key_source() }
    }

    pub fn frame_name(&self) -> &'static str {
        match self.format {
            Format::Lines | Format::Ndjson | Format::DeadLetters => "line",
            Format::LengthPrefixed => "frame",
        }
    }

    /// Builds a record from a frame. Returns `None` for a blank line in a format of JSON documents.
    pub fn build(&self, frame: Frame) -> Result<Option<Built>, RejectedFrame> {
        let Frame::Complete(frame) = frame else {
            let data = RejectedData::Discarded;
            return Err(RejectedFrame { error: FrameError::TooLong, data });
        };
        let text = match self.format {
            Format::LengthPrefixed => frame.clone(),
            Format::Lines | Format::Ndjson | Format::DeadLetters => without_line_break(&frame),
        };
        let is_json = matches!(self.format, Format::Ndjson | Format::DeadLetters);
        if is_json && text.trim_ascii().is_empty() {
            return Ok(None);
        }
        if self.format == Format::DeadLetters {
            return Built::from_dead_letter(text).map(Some);
        }
        let key = self.key(&text);
        let data = if self.keep_newline { frame } else { text };
        match key {
            Ok(Some(key)) => Ok(Some(Built::new(Record::from(data).with_partition_key(key)))),
            Ok(None) => Ok(Some(Built::new(Record::from(data)))),
            Err(error) => Err(RejectedFrame { error, data: RejectedData::Frame(data) }),
        }
    }

    fn key(&self, text: &[u8]) -> Result<Option<Key>, FrameError> {
        match &self.key {
            KeySource::Pointer(pointer) => pointer_key(text, pointer).map(Some),
            KeySource::Field { number, delimiter } => {
                field_key(text, *number, *delimiter).map(Some)
            }
            KeySource::Random if self.format == Format::Ndjson => {
                serde_json::from_slice::<IgnoredAny>(text).map_err(invalid_json)?;
                Ok(None)
            }
            KeySource::Random => Ok(None),
        }
    }
}

fn invalid_json(error: serde_json::Error) -> FrameError {
    FrameError::InvalidJson(error.column())
}

fn pointer_key(text: &[u8], pointer: &str) -> Result<Key, FrameError> {
    let document: Value = serde_json::from_slice(text).map_err(invalid_json)?;
    let not_scalar = |found| FrameError::NotScalar { pointer: pointer.to_owned(), found };
    match document.pointer(pointer) {
        Some(Value::String(text)) => Ok(Key::from(text)),
        Some(value @ (Value::Number(_) | Value::Bool(_))) => Ok(Key::from(value.to_string())),
        Some(Value::Null) => Err(not_scalar("null")),
        Some(Value::Array(_)) => Err(not_scalar("an array")),
        Some(Value::Object(_)) => Err(not_scalar("an object")),
        None => Err(FrameError::PointerNotFound(pointer.to_owned())),
    }
}

fn field_key(text: &[u8], number: u32, delimiter: char) -> Result<Key, FrameError> {
    let mut bytes = [0; 4];
    let delimiter = delimiter.encode_utf8(&mut bytes).as_bytes();
    let mut begin = 0;
    for fields in 1.. {
        let end = memchr::memmem::find(&text[begin..], delimiter).map(|at| begin + at);
        if fields == number as usize {
            let field = &text[begin..end.unwrap_or(text.len())];
            let field = std::str::from_utf8(field);
            return field.map(Key::from).map_err(|_| FrameError::InvalidUtf8(number));
        }
        let Some(end) = end else { return Err(FrameError::FieldNotFound { number, fields }) };
        begin = end + delimiter.len();
    }
    unreachable!("a line has at most one field more than bytes")
}

pub fn parse_pointer(text: &str) -> Result<String, String> {
    if !text.is_empty() && !text.starts_with('/') {
        return Err("a JSON pointer must start with /, as in /user/id".to_owned());
    }
    let escapes = text.split('~').skip(1);
    if !escapes.into_iter().all(|rest| rest.starts_with(['0', '1'])) {
        return Err("invalid escape: write ~0 for ~, and ~1 for / within a name".to_owned());
    }
    Ok(text.to_owned())
}
