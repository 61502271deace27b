use std::mem;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::budget::AcquireError;
use crate::error::{Error, Rejection};
use crate::limits::RecordError;
use crate::pipeline::UNROUTED;
use crate::producer::capacity::{Capacity, Permit};
use crate::producer::channel::{Channel, FlushReply};
use crate::record::{Record, Undelivered};
use crate::sink::Core;
use crate::spool::SpoolStatus;
use crate::spool::worker::{STAGING_BOUNDS, SpoolHandle};

/// Spool of a producer, as its handles use it.
#[derive(Debug)]
pub(in crate::producer) struct Spooling {
    handle: Arc<SpoolHandle>,
    /// Capacity for records that are about to be written.
    staging: Capacity,
    /// Numbers in the spool of the failed records that a caller can take, which are acknowledged then.
    collected: Mutex<Vec<Range<u64>>>,
}

impl Spooling {
    pub(in crate::producer) fn new(sink: &Core) -> Option<Box<Self>> {
        let handle = sink.spool()?.clone();
        let staging = Capacity::of_staging(STAGING_BOUNDS, handle.staging().clone());
        Some(Box::new(Self { handle, staging, collected: Mutex::default() }))
    }

    /// Returns the number of records that were found when the spool was opened.
    pub(in crate::producer) fn recovered(&self) -> u64 {
        self.handle.recovered()
    }

    /// Returns `true` if new records are written to the spool.
    #[inline]
    pub(in crate::producer) fn diverts(&self) -> bool {
        self.handle.diverts()
    }

    pub(in crate::producer) fn check(&self, record: &Record) -> Result<(), RecordError> {
        let (bytes, limit) = (record.size(), self.handle.settings().max_record_bytes());
        if bytes > limit { Err(RecordError::ExceedsSegment { bytes, limit }) } else { Ok(()) }
    }

    /// Returns the size of the largest record so far.
    pub(in crate::producer) fn largest_record(&self) -> Option<usize> {
        self.staging.largest_record()
    }

    pub(in crate::producer) fn try_acquire(&self, size: usize) -> Result<Permit, StageError> {
        if self.handle.refuses() {
            return Err(StageError::SpoolFull);
        }
        let permit = self.staging.try_acquire_share(UNROUTED, size);
        permit.map(Permit::staged).map_err(StageError::NoPermit)
    }

    /// Waits for a permit. Returns `None` if the producer was closed.
    pub(in crate::producer) async fn acquire(&self, size: usize) -> Option<Permit> {
        self.staging.acquire(UNROUTED, size, || ()).await.map(Permit::staged)
    }

    pub(in crate::producer) fn status(&self) -> SpoolStatus {
        self.handle.status()
    }

    /// Returns `true` if the spool has no records.
    pub(in crate::producer) fn is_empty(&self) -> bool {
        self.handle.records() == 0
    }

    /// Accepts no more records.
    pub(in crate::producer) fn close(&self) {
        self.handle.close_staging();
    }

    /// Releases the directory, now that no more records are delivered or acknowledged.
    pub(in crate::producer) fn request_release(&self) {
        self.handle.request_close();
    }

    pub(in crate::producer) async fn released(&self) {
        self.handle.closed().await;
    }

    /// Takes the accepted records that could not be written before the spool was closed.
    pub(in crate::producer) fn take_unwritten(&self) -> Vec<Undelivered> {
        self.handle.take_unwritten()
    }

    fn collected(&self) -> MutexGuard<'_, Vec<Range<u64>>> {
        self.collected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds failed records. The queue, to which the records are added as well, must be locked.
    pub(in crate::producer) fn collect(&self, seqs: Vec<Range<u64>>) {
        self.collected().extend(seqs);
    }

    /// Acknowledges the failed records that a caller has taken.
    pub(in crate::producer) fn acknowledge_collected(&self) {
        let seqs = mem::take(&mut *self.collected());
        if !seqs.is_empty() {
            self.handle.acknowledge(seqs);
        }
    }

    pub(in crate::producer) fn flush(&self) -> FlushReply {
        let (sender, receiver) = oneshot::channel();
        self.handle.flush(sender);
        receiver
    }
}

/// Reason why a record cannot be staged now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::producer) enum StageError {
    NoPermit(AcquireError),
    SpoolFull,
}

impl Channel {
    /// Adds failed records that are acknowledged when a caller takes them.
    pub(in crate::producer) fn collect_seqs(&self, seqs: Vec<Range<u64>>) {
        if let Some(spooling) = self.spooling.as_ref().filter(|_| !seqs.is_empty()) {
            spooling.collect(seqs);
        }
    }

    /// Reserves a permit to stage a record, without waiting.
    pub(in crate::producer) fn try_reserve_staged(
        &self,
        spooling: &Spooling,
        size: usize,
    ) -> Result<Permit, Rejection> {
        spooling.try_acquire(size).map_err(|error| match error {
            StageError::SpoolFull => Rejection::SpoolFull,
            StageError::NoPermit(AcquireError::Closed) => self.closed_rejection(),
            StageError::NoPermit(AcquireError::Full | AcquireError::Share) => Rejection::Full,
        })
    }

    /// Accepts a record that was staged when the permit was reserved. Does not wait until it is written.
    pub(in crate::producer) fn stage(
        &self,
        spooling: &Spooling,
        record: Record,
        permit: Permit,
    ) -> Result<(), Error> {
        for woken in spooling.staging.commit(permit, UNROUTED, record.size()) {
            woken.wake();
        }
        let staged = spooling.handle.stage(record, Instant::now());
        staged.map_err(|record| self.rejected(record, self.closed_rejection()))
    }

    /// Stages a record that was reserved in the buffer. Meanwhile new records have been diverted.
    pub(in crate::producer) fn stage_beyond(
        &self,
        spooling: &Spooling,
        record: Record,
    ) -> Result<(), Error> {
        for woken in spooling.staging.charge(UNROUTED, record.size()) {
            woken.wake();
        }
        let staged = spooling.handle.stage(record, Instant::now());
        staged.map_err(|record| self.rejected(record, self.closed_rejection()))
    }

    /// Accepts a record, and waits until it is written if it goes through the spool.
    pub(in crate::producer) async fn write(
        &self,
        spooling: &Spooling,
        record: Record,
        permit: Permit,
    ) -> Result<(), Error> {
        for woken in spooling.staging.commit(permit, UNROUTED, record.size()) {
            woken.wake();
        }
        match spooling.handle.write(record, Instant::now()).await {
            Ok(()) => Ok(()),
            Err((record, Rejection::Closed)) => {
                Err(self.unwritten(record, self.closed_rejection()))
            }
            Err((record, rejection)) => Err(self.unwritten(record, rejection)),
        }
    }

    fn unwritten(&self, record: Option<Record>, rejection: Rejection) -> Error {
        match record {
            Some(record) => self.rejected(record, rejection),
            None => Error::rejection(rejection).with_stream(self.stream.clone()),
        }
    }
}
