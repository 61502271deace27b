//! What a record is, and the partition key that it has.

use bytes::Bytes;
use kinesis_sink::Record;
use kinesis_sink::record::Key;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::arguments::{Arguments, Format};
use crate::bad::Bad;
use crate::input::{Frame, without_line_break};

/// Where the partition key comes from.
pub enum KeyOf {
    /// Nowhere: it is random.
    Nothing,
    /// From a field of the line, counted from 1.
    Field { number: u32, delimiter: char },
    /// From where this JSON pointer points.
    Pointer(String),
}

/// Makes records of frames.
pub struct Reader {
    format: Format,
    keep_newline: bool,
    key: KeyOf,
}

/// A frame that makes no record.
pub struct Rejected {
    pub why: Bad,
    /// As much of it as is known.
    pub data: Option<Bytes>,
}

impl Reader {
    pub fn new(arguments: &Arguments) -> Self {
        let Arguments { format, keep_newline, .. } = *arguments;
        Self { format, keep_newline, key: arguments.key() }
    }

    /// What the input calls a frame.
    pub fn unit(&self) -> &'static str {
        match self.format {
            Format::Lines | Format::Ndjson => "line",
            Format::LengthPrefixed => "frame",
        }
    }

    /// The frame as a record. A blank line between JSON documents is none.
    pub fn record(&self, frame: Frame) -> Result<Option<Record>, Rejected> {
        let Frame::Whole(frame) = frame else {
            return Err(Rejected { why: Bad::Endless, data: None });
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
            Err(why) => Err(Rejected { why, data: Some(data) }),
        }
    }

    fn key(&self, text: &[u8]) -> Result<Option<Key>, Bad> {
        match &self.key {
            KeyOf::Pointer(pointer) => pointed_at(text, pointer).map(Some),
            KeyOf::Field { number, delimiter } => field(text, *number, *delimiter).map(Some),
            KeyOf::Nothing if self.format == Format::Ndjson => {
                serde_json::from_slice::<IgnoredAny>(text).map_err(not_json)?;
                Ok(None)
            }
            KeyOf::Nothing => Ok(None),
        }
    }
}

fn not_json(error: serde_json::Error) -> Bad {
    Bad::NotJson(error.column())
}

fn pointed_at(text: &[u8], pointer: &str) -> Result<Key, Bad> {
    let document: Value = serde_json::from_slice(text).map_err(not_json)?;
    let no_scalar = |found| Bad::NoScalar { pointer: pointer.to_owned(), found };
    match document.pointer(pointer) {
        Some(Value::String(text)) => Ok(Key::from(text)),
        Some(value @ (Value::Number(_) | Value::Bool(_))) => Ok(Key::from(value.to_string())),
        Some(Value::Null) => Err(no_scalar("null")),
        Some(Value::Array(_)) => Err(no_scalar("an array")),
        Some(Value::Object(_)) => Err(no_scalar("an object")),
        None => Err(Bad::Nowhere(pointer.to_owned())),
    }
}

fn field(text: &[u8], number: u32, delimiter: char) -> Result<Key, Bad> {
    let mut bytes = [0; 4];
    let delimiter = delimiter.encode_utf8(&mut bytes).as_bytes();
    let mut begin = 0;
    for passed in 1.. {
        let end = memchr::memmem::find(&text[begin..], delimiter).map(|at| begin + at);
        if passed == number as usize {
            let field = &text[begin..end.unwrap_or(text.len())];
            return std::str::from_utf8(field).map(Key::from).map_err(|_| Bad::NotText(number));
        }
        let Some(end) = end else { return Err(Bad::NoField { number, fields: passed }) };
        begin = end + delimiter.len();
    }
    unreachable!("a text has fewer fields than bytes")
}

/// Reads a JSON pointer of the command line.
pub fn pointer(text: &str) -> Result<String, String> {
    if !text.is_empty() && !text.starts_with('/') {
        return Err("a JSON pointer begins with /, as in /user/id".to_owned());
    }
    let escapes = text.split('~').skip(1);
    if !escapes.into_iter().all(|rest| rest.starts_with(['0', '1'])) {
        return Err("in a JSON pointer ~ is written ~0, and / inside of a name ~1".to_owned());
    }
    Ok(text.to_owned())
}
