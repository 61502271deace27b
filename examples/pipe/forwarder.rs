use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use futures::{SinkExt, StreamExt};
use kinesis_sink::record::DeadLetterHandler;
use kinesis_sink::{Error, ErrorKind, KinesisSink};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::dead_letters::DeadLetters;
use crate::frame_error::FrameError;
use crate::input::{Frame, Input, InputError};
use crate::interrupts::Interrupts;
use crate::progress::Progress;
use crate::record::{RecordBuilder, RejectedData, RejectedFrame};
use crate::report::{ReadCounts, Report, StopReason, UndeliveredCounts};
use crate::tally::Tally;

const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

pub struct Forwarder {
    pub input: Input,
    pub records: RecordBuilder,
    pub sink: KinesisSink,
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
    /// Forwards the input until its end, an error, or an interrupt. The sink is empty afterwards.
    pub async fn run(&mut self) -> Report {
        let started_at = Instant::now();
        let mut ticks = interval(PROGRESS_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut read = ReadCounts::default();
        let mut stop = self.read(&mut read, &mut ticks).await;
        if let StopReason::Interrupted(interrupt) = stop {
            self.progress.print_draining(interrupt);
        }
        // If the sink has failed, the stream would not accept the remaining records either.
        if !matches!(&stop, StopReason::Error(error) if error.is::<Error>()) {
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
        let totals = *self.sink.totals();
        Report { stop, read, totals, elapsed: started_at.elapsed(), undelivered, dead_letters }
    }

    async fn read(&mut self, read: &mut ReadCounts, ticks: &mut Interval) -> StopReason {
        loop {
            // The fixed order prevents continuous input from delaying interrupts and progress.
            let next = tokio::select! {
                biased;
                interrupt = self.interrupts.next() => return StopReason::Interrupted(interrupt),
                _ = ticks.tick() => {
                    self.progress.update(read, &self.sink);
                    continue;
                }
                next = poll_fn(|cx| poll_next(&mut self.sink, &mut self.input, cx)) => next,
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
            if self.sink.status().failed.records > 0 {
                return StopReason::Undelivered;
            }
        }
    }

    /// Sends a frame as a record. The sink must be ready to accept a record.
    fn accept(&mut self, frame: Frame, read: &mut ReadCounts) -> Result<(), RejectedFrame> {
        let Some(built) = self.records.build(frame)? else { return Ok(()) };
        let data = built.record.data().clone();
        match self.sink.start_send_unpin(built.record) {
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

    /// Closes the sink. Returns early when a second interrupt arrives.
    async fn drain(&mut self, read: &ReadCounts, ticks: &mut Interval, stop: &mut StopReason) {
        let Self { sink, interrupts, progress, .. } = self;
        loop {
            let closed = tokio::select! {
                biased;
                interrupt = interrupts.next() => {
                    if matches!(stop, StopReason::Interrupted(_)) {
                        return;
                    }
                    progress.print_draining(interrupt);
                    *stop = StopReason::Interrupted(interrupt);
                    continue;
                }
                _ = ticks.tick() => {
                    progress.update(read, sink);
                    continue;
                }
                closed = sink.close() => closed,
            };
            match closed {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Undelivered => {}
                Err(error) => *stop = StopReason::Error(error.into()),
            }
            return;
        }
    }

    /// Writes the remaining records of the sink to the dead-letter file, and counts the records that are not written.
    fn take_undelivered(&mut self) -> UndeliveredCounts {
        let mut counts = UndeliveredCounts::default();
        for undelivered in self.sink.take_undelivered() {
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

/// Polls the sink until it is ready, and then the input, so that no frame is lost if the caller stops polling.
fn poll_next(
    sink: &mut KinesisSink,
    input: &mut Input,
    cx: &mut Context<'_>,
) -> Poll<Result<Frame, NextFrameError>> {
    ready!(sink.poll_ready_unpin(cx)).map_err(NextFrameError::Sink)?;
    match input.poll_next_unpin(cx) {
        Poll::Ready(Some(frame)) => Poll::Ready(frame.map_err(NextFrameError::Input)),
        Poll::Ready(None) => Poll::Ready(Err(NextFrameError::EndOfInput)),
        // Sends buffered records while the input pauses.
        Poll::Pending => match sink.poll_flush_unpin(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(NextFrameError::Sink(error))),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
        },
    }
}
