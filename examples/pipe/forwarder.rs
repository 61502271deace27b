use std::future::poll_fn;
use std::path::PathBuf;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use futures::StreamExt;
use kinesis_sink::record::DeadLetterHandler;
use kinesis_sink::{Error, ErrorKind};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::dead_letters::DeadLetters;
use crate::frame_error::FrameError;
use crate::input::{Frame, Input, InputError};
use crate::interrupts::Interrupts;
use crate::outlet::Outlet;
use crate::progress::Progress;
use crate::record::{RecordBuilder, RejectedData, RejectedFrame};
use crate::report::{ReadCounts, Report, StopReason, UndeliveredCounts};
use crate::spool::Remainder;
use crate::tally::Tally;

const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

pub struct Forwarder {
    pub input: Input,
    pub records: RecordBuilder,
    pub outlet: Outlet,
    /// Directory of the spool, if there is one.
    pub spool: Option<PathBuf>,
    pub dead_letters: Option<DeadLetters>,
    pub interrupts: Interrupts,
    pub progress: Progress,
    /// Tally of all records accepted by the sink. Set if the stream is read back.
    pub tally: Option<Tally>,
}

enum NextFrameError {
    EndOfInput,
    Input(InputError),
    Sink(Error),
}

impl Forwarder {
    /// Forwards the input until its end, an error, or an interrupt. The outlet is empty afterwards.
    pub async fn run(&mut self) -> Report {
        let started_at = Instant::now();
        let mut ticks = interval(PROGRESS_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut read = ReadCounts::default();
        let mut stop = self.read(&mut read, &mut ticks).await;
        // If the sink has failed, the stream would not accept the remaining records either.
        let has_failed = matches!(&stop, StopReason::Error(error) if error.is::<Error>());
        if self.outlet.is_spooled() && (has_failed || matches!(stop, StopReason::Interrupted(_))) {
            self.leave(&mut stop).await;
        } else if !has_failed {
            if let StopReason::Interrupted(interrupt) = stop {
                self.progress.print_draining(interrupt);
            }
            self.drain(&read, &mut ticks, &mut stop).await;
        }
        let undelivered = self.take_undelivered();
        self.progress.end();
        if let Some(error) = self.dead_letters.as_ref().and_then(DeadLetters::take_error) {
            let error = anyhow!(error).context("cannot write the dead-letter file");
            stop = StopReason::Error(match stop {
                // The rejected frame is neither in the file nor among the undelivered records, so the reason is kept.
                StopReason::BadInput(reason) => error.context(reason),
                _ => error,
            });
        }
        let dead_letters = self.dead_letters.as_ref().map_or(0, DeadLetters::written);
        let status = self.outlet.status();
        let damaged = status.spool.map_or(0, |spool| spool.damaged_frames);
        let totals = status.totals;
        let elapsed = started_at.elapsed();
        let left = self.spool.as_deref().map(Remainder::of).transpose();
        let left = left.unwrap_or_else(|error| {
            // The first error is the cause.
            if !matches!(stop, StopReason::Error(_)) {
                stop = StopReason::Error(error);
            }
            None
        });
        Report { stop, read, totals, elapsed, undelivered, dead_letters, left, damaged }
    }

    async fn read(&mut self, read: &mut ReadCounts, ticks: &mut Interval) -> StopReason {
        loop {
            // The fixed order prevents continuous input from delaying interrupts and progress.
            let next = tokio::select! {
                biased;
                interrupt = self.interrupts.next() => return StopReason::Interrupted(interrupt),
                _ = ticks.tick() => {
                    self.progress.update(read, &self.outlet.status());
                    continue;
                }
                next = poll_fn(|cx| poll_next(&mut self.outlet, &mut self.input, cx)) => next,
            };
            match next {
                Ok(frame) => {
                    read.frames += 1;
                    if let Err(rejected) = self.accept(frame, read)
                        && let Some(stop) = self.reject(&rejected, read)
                    {
                        return stop;
                    }
                }
                Err(NextFrameError::EndOfInput) => return StopReason::EndOfInput,
                Err(NextFrameError::Input(error)) => {
                    let frame = format!("{} {}", self.records.frame_name(), read.frames + 1);
                    return StopReason::from_input_error(&frame, error);
                }
                Err(NextFrameError::Sink(error)) if error.kind() == ErrorKind::Undelivered => {
                    return StopReason::Undelivered;
                }
                Err(NextFrameError::Sink(error)) => return StopReason::Error(error.into()),
            }
            // A failed record stays in the sink if no dead-letter file has accepted it.
            if self.outlet.status().failed.records > 0 {
                return StopReason::Undelivered;
            }
        }
    }

    /// Sends a frame as a record. The outlet must be ready to accept a record.
    fn accept(&mut self, frame: Frame, read: &mut ReadCounts) -> Result<(), RejectedFrame> {
        let Some(built) = self.records.build(frame)? else { return Ok(()) };
        let data = built.record.data().clone();
        match self.outlet.start_send(built.record) {
            Ok(()) => {
                read.records += 1;
                read.resent += u64::from(built.may_have_been_written);
                read.bytes += data.len() as u64;
                if let Some(tally) = &mut self.tally {
                    tally.add(&data);
                }
                Ok(())
            }
            Err(error) => {
                Err(RejectedFrame { error: FrameError::Record(error), data: built.source })
            }
        }
    }

    /// Writes a rejected frame to the dead-letter file. Returns a reason to stop if the frame could not be written.
    fn reject(&mut self, rejected: &RejectedFrame, read: &mut ReadCounts) -> Option<StopReason> {
        read.rejected += 1;
        let frame = format!("{} {}", self.records.frame_name(), read.frames);
        let is_written =
            self.dead_letters.as_ref().is_some_and(|file| file.put_rejected(rejected, &frame));
        if is_written {
            // The copied line does not say why it was rejected.
            if matches!(rejected.data, RejectedData::DeadLetter(_)) {
                self.progress.print_rejected(&frame, &rejected.error);
            }
            None
        } else {
            Some(StopReason::BadInput(format!("{frame}: {}", rejected.error)))
        }
    }

    /// Closes the outlet. Returns early when a second interrupt arrives, or the first one if there is a spool.
    async fn drain(&mut self, read: &ReadCounts, ticks: &mut Interval, stop: &mut StopReason) {
        let is_spooled = self.outlet.is_spooled();
        loop {
            let Self { outlet, interrupts, progress, .. } = &mut *self;
            let closed = tokio::select! {
                biased;
                interrupt = interrupts.next() => {
                    if matches!(stop, StopReason::Interrupted(_)) {
                        return;
                    }
                    *stop = StopReason::Interrupted(interrupt);
                    if is_spooled {
                        return self.leave(stop).await;
                    }
                    progress.print_draining(interrupt);
                    continue;
                }
                _ = ticks.tick() => {
                    progress.update(read, &outlet.status());
                    continue;
                }
                closed = outlet.close() => closed,
            };
            match closed {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Undelivered => {}
                Err(error) => *stop = StopReason::Error(error.into()),
            }
            return;
        }
    }

    /// Closes a producer at once. The undelivered records stay in its spool.
    async fn leave(&mut self, stop: &mut StopReason) {
        if let Err(error) = self.outlet.leave().await
            && error.kind() != ErrorKind::Undelivered
            && !matches!(stop, StopReason::Error(_))
        {
            *stop = StopReason::Error(error.into());
        }
    }

    /// Writes the remaining records of the outlet to the dead-letter file, and counts the records that are not written.
    fn take_undelivered(&mut self) -> UndeliveredCounts {
        let mut counts = UndeliveredCounts::default();
        for undelivered in self.outlet.take_undelivered() {
            let rejected = match &mut self.dead_letters {
                Some(file) => file.put(undelivered),
                None => Some(undelivered),
            };
            if let Some(undelivered) = rejected {
                counts.add(&undelivered);
            }
        }
        counts
    }
}

/// Polls the outlet until it is ready, and then the input, so that no frame is lost if the caller stops polling.
fn poll_next(
    outlet: &mut Outlet,
    input: &mut Input,
    cx: &mut Context<'_>,
) -> Poll<Result<Frame, NextFrameError>> {
    ready!(outlet.poll_ready(cx)).map_err(NextFrameError::Sink)?;
    match input.poll_next_unpin(cx) {
        Poll::Ready(Some(frame)) => Poll::Ready(frame.map_err(NextFrameError::Input)),
        Poll::Ready(None) => Poll::Ready(Err(NextFrameError::EndOfInput)),
        Poll::Pending => outlet.poll_pause(cx).map(|error| Err(NextFrameError::Sink(error))),
    }
}
