//! The file for what could not be delivered.

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

use crate::key::Rejected;

/// The file. Its clones share it.
#[derive(Clone)]
pub struct DeadLetters(Arc<Mutex<Inner>>);

struct Inner {
    file: File,
    written: u64,
    /// From then on nothing is written: half a line may be there.
    error: Option<io::Error>,
}

/// A line of the file.
#[derive(Serialize)]
struct Letter<'a> {
    reason: &'static str,
    /// The service's.
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

impl<'a> Letter<'a> {
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

    fn of_undelivered(undelivered: &'a Undelivered) -> Self {
        let (record, reason) = (undelivered.record(), undelivered.reason());
        Self {
            code: undelivered.last_error().map(|error| error.code()),
            attempts: undelivered.attempts(),
            may_have_been_written: undelivered.may_have_been_written(),
            partition_key: key(record),
            ..Self::new(reason.code(), reason.to_string(), Some(record.data()))
        }
    }
}

fn key(record: &Record) -> Option<&str> {
    match record.partition_key() {
        PartitionKey::Explicit(key) => Some(key.as_str()),
        _ => None,
    }
}

impl DeadLetters {
    /// Opens the file, for nothing should be sent if that is not possible.
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

    /// Records that are in it since it was opened.
    pub fn written(&self) -> u64 {
        self.lock().written
    }

    /// Why it takes no more.
    pub fn take_error(&self) -> Option<io::Error> {
        self.lock().error.take()
    }

    /// Writes down what became no record. `at` says where in the input it was. False if it cannot be
    /// written.
    pub fn put_rejected(&self, rejected: &Rejected, at: &str) -> bool {
        let message = format!("{at}: {}", rejected.why);
        self.write(&Letter::new("bad_input", message, rejected.data.as_ref()))
    }

    /// Blocks until the line is written. That holds the whole program up if the file is slow, which is
    /// what should happen then.
    fn write(&self, letter: &Letter<'_>) -> bool {
        let mut inner = self.lock();
        if inner.error.is_some() {
            return false;
        }
        let line = serde_json::to_vec(letter).expect("its keys are strings");
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
        match self.write(&Letter::of_undelivered(&undelivered)) {
            true => None,
            false => Some(undelivered),
        }
    }
}
