use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use base64_simd::STANDARD;
use bytes::Bytes;
use kinesis_sink::record::DeadLetterHandler;
use kinesis_sink::{PartitionKey, Record, Undelivered};
use serde::Serialize;

use crate::record::RejectedFrame;

/// A dead-letter file that all clones share.
#[derive(Clone)]
pub struct DeadLetters(Arc<Mutex<Inner>>);

struct Inner {
    file: File,
    written: u64,
    /// The first write error. Nothing is written after an error, because the file might end with a partial line.
    error: Option<io::Error>,
}

#[derive(Serialize)]
struct DeadLetter<'a> {
    reason: &'static str,
    code: Option<&'a str>,
    message: String,
    attempts: u32,
    may_have_been_written: bool,
    partition_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
}

impl<'a> DeadLetter<'a> {
    fn new(reason: &'static str, message: String, data: Option<&'a Bytes>) -> Self {
        let text = data.and_then(|data| std::str::from_utf8(data).ok());
        let data_base64 = data.filter(|_| text.is_none());
        Self {
            reason,
            code: None,
            message,
            attempts: 0,
            may_have_been_written: false,
            partition_key: None,
            data: text,
            data_base64: data_base64.map(|data| STANDARD.encode_to_string(data)),
        }
    }

    fn from_undelivered(undelivered: &'a Undelivered) -> Self {
        let record = undelivered.record();
        let reason = undelivered.reason();
        Self {
            code: undelivered.last_error().map(|error| error.code()),
            attempts: undelivered.attempts(),
            may_have_been_written: undelivered.may_have_been_written(),
            partition_key: explicit_key(record),
            ..Self::new(reason.code(), reason.to_string(), Some(record.data()))
        }
    }
}

fn explicit_key(record: &Record) -> Option<&str> {
    match record.partition_key() {
        PartitionKey::Explicit(key) => Some(key.as_str()),
        _ => None,
    }
}

impl DeadLetters {
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path);
        let file =
            file.with_context(|| format!("cannot write --dead-letter {}", path.display()))?;
        Ok(Self(Arc::new(Mutex::new(Inner { file, written: 0, error: None }))))
    }

    /// Returns the number of lines written since the file was opened.
    pub fn written(&self) -> u64 {
        self.lock().written
    }

    pub fn take_error(&self) -> Option<io::Error> {
        self.lock().error.take()
    }

    /// Writes a rejected frame. `frame` is its position in the input. Returns `false` on error.
    pub fn put_rejected(&self, rejected: &RejectedFrame, frame: &str) -> bool {
        let message = format!("{frame}: {}", rejected.error);
        self.write(&DeadLetter::new("bad_input", message, rejected.data.as_ref()))
    }

    /// Writes a line. Returns `false` on error. Blocking on a slow file limits the number of records in memory.
    fn write(&self, letter: &DeadLetter<'_>) -> bool {
        let mut inner = self.lock();
        if inner.error.is_some() {
            return false;
        }
        let line = serde_json::to_vec(letter).expect("serialization to JSON succeeds");
        match inner.file.write_all(&[&line[..], b"\n"].concat()) {
            Ok(()) => inner.written += 1,
            Err(error) => inner.error = Some(error),
        }
        inner.error.is_none()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DeadLetterHandler for DeadLetters {
    fn put(&mut self, undelivered: Undelivered) -> Option<Undelivered> {
        if self.write(&DeadLetter::from_undelivered(&undelivered)) {
            None
        } else {
            Some(undelivered)
        }
    }
}
