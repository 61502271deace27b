use bytes::Bytes;
use kinesis_sink::Record;
use kinesis_sink::record::Key;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::arguments::{Arguments, Format};
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

pub struct RejectedFrame {
    pub error: FrameError,
    /// Data of the frame. `None` if the frame was too long to be buffered.
    pub data: Option<Bytes>,
}

impl RecordBuilder {
    pub fn new(arguments: &Arguments) -> Self {
        let Arguments { format, keep_newline, .. } = *arguments;
        Self { format, keep_newline, key: arguments.key_source() }
    }

    pub fn frame_name(&self) -> &'static str {
        match self.format {
            Format::Lines | Format::Ndjson => "line",
            Format::LengthPrefixed => "frame",
        }
    }

    /// Builds a record from a frame. Returns `None` for a blank line in the NDJSON format.
    pub fn build(&self, frame: Frame) -> Result<Option<Record>, RejectedFrame> {
        let Frame::Complete(frame) = frame else {
            return Err(RejectedFrame { error: FrameError::TooLong, data: None });
        };
        let text = match self.format {
            Format::LengthPrefixed => frame.clone(),
            Format::Lines | Format::Ndjson => without_line_break(&frame),
        };
        if self.format == Format::Ndjson && text.trim_ascii().is_empty() {
            return Ok(None);
        }
        let key = self.key(&text);
        let data = if self.keep_newline { frame } else { text };
        match key {
            Ok(Some(key)) => Ok(Some(Record::from(data).with_partition_key(key))),
            Ok(None) => Ok(Some(Record::from(data))),
            Err(error) => Err(RejectedFrame { error, data: Some(data) }),
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
