use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use kinesis_sink::Undelivered;
use kinesis_sink::record::DeadLetterHandler;

use crate::dead_letter::DeadLetter;
use crate::record::{RejectedData, RejectedFrame};

/// A dead-letter file that all clones share.
#[derive(Clone)]
pub struct DeadLetters(Arc<Mutex<Inner>>);

struct Inner {
    file: File,
    written: u64,
    /// The first write error. Nothing is written after an error, because the file might end with a partial line.
    error: Option<io::Error>,
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

    /// Returns `true` if standard input is read from this file. Then reading would never end, because each line that
    /// fails again is appended to the input.
    #[cfg(unix)]
    pub fn is_standard_input(&self) -> io::Result<bool> {
        use std::os::fd::AsFd;
        use std::os::unix::fs::MetadataExt;

        let input = File::from(io::stdin().as_fd().try_clone_to_owned()?).metadata()?;
        let file = self.lock().file.metadata()?;
        Ok(input.is_file() && (input.dev(), input.ino()) == (file.dev(), file.ino()))
    }

    #[cfg(not(unix))]
    pub fn is_standard_input(&self) -> io::Result<bool> {
        Ok(false)
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
        match &rejected.data {
            RejectedData::Frame(data) => {
                self.write(&DeadLetter::bad_input(message, Some(data)).to_line())
            }
            RejectedData::Discarded => self.write(&DeadLetter::bad_input(message, None).to_line()),
            RejectedData::DeadLetter(line) => self.write(&[line, &b"\n"[..]].concat()),
        }
    }

    /// Writes a line. Returns `false` on error. Blocking on a slow file limits the number of records in memory.
    fn write(&self, line: &[u8]) -> bool {
        let mut inner = self.lock();
        if inner.error.is_some() {
            return false;
        }
        match inner.file.write_all(line) {
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
        if self.write(&DeadLetter::from_undelivered(&undelivered).to_line()) {
            None
        } else {
            Some(undelivered)
        }
    }
}
