//! From the input into the sink, until the end of either, or of the user's patience.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use futures::{SinkExt, StreamExt};
use kinesis_sink::record::DeadLetterHandler;
use kinesis_sink::{Error, ErrorKind, KinesisSink};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::bad::Bad;
use crate::check::Tally;
use crate::dead_letters::DeadLetters;
use crate::input::{Frame, Input, InputError};
use crate::interrupts::Interrupts;
use crate::key::{Reader, Rejected};
use crate::progress::Progress;
use crate::report::{Counts, Left, Report, Stop};

const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

pub struct Forward {
    pub input: Input,
    pub reader: Reader,
    pub sink: KinesisSink,
    pub dead_letters: Option<DeadLetters>,
    pub interrupts: Interrupts,
    pub progress: Progress,
    /// Of all records, where they are read back.
    pub tally: Option<Tally>,
}

/// Nothing comes any more.
enum Over {
    Input(Option<InputError>),
    Sink(Error),
}

impl Forward {
    /// Sends everything, or what can be sent. Afterwards the sink holds nothing.
    pub async fn run(&mut self) -> Report {
        let began = Instant::now();
        let mut ticks = interval(BETWEEN_LOOKS);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut read = Counts::default();
        let mut stop = self.read(&mut read, &mut ticks).await;
        if let Stop::Interrupted(interrupt) = stop {
            self.progress.say_draining(interrupt);
        }
        // A stream that takes nothing would take what is left no better.
        if !matches!(&stop, Stop::Error(error) if error.is::<Error>()) {
            self.drain(&read, &mut ticks, &mut stop).await;
        }
        let left = self.give_up();
        self.progress.end();
        if let Some(error) = self.dead_letters.as_ref().and_then(DeadLetters::take_error) {
            let error = anyhow!(error).context("the dead-letter file cannot be written");
            stop = Stop::Error(match stop {
                // It is in no file, and counted nowhere else.
                Stop::BadInput(why) => error.context(why),
                _ => error,
            });
        }
        let dead_letters = self.dead_letters.as_ref().map_or(0, DeadLetters::written);
        let (totals, took) = (*self.sink.totals(), began.elapsed());
        Report { stop, read, totals, took, left, dead_letters }
    }

    async fn read(&mut self, read: &mut Counts, ticks: &mut Interval) -> Stop {
        loop {
            // In this order: input that never pauses must not keep the others waiting.
            let next = tokio::select! {
                biased;
                interrupt = self.interrupts.next() => return Stop::Interrupted(interrupt),
                _ = ticks.tick() => {
                    self.progress.show(read, &self.sink);
                    continue;
                }
                next = poll_fn(|cx| next(&mut self.sink, &mut self.input, cx)) => next,
            };
            match next {
                Ok(frame) => {
                    read.frames += 1;
                    if let Err(rejected) = self.accept(frame, read)
                        && let Some(stop) = self.set_aside(&rejected, read)
                    {
                        return stop;
                    }
                }
                Err(Over::Input(None)) => return Stop::EndOfInput,
                Err(Over::Input(Some(error))) => {
                    let frame = format!("{} {}", self.reader.unit(), read.frames + 1);
                    return Stop::at_frame(&frame, error);
                }
                Err(Over::Sink(error)) if error.kind() == ErrorKind::Undelivered => {
                    return Stop::Undelivered;
                }
                Err(Over::Sink(error)) => return Stop::Error(error.into()),
            }
            // Nobody takes them, and those after them would hardly fare better.
            if self.sink.status().failed.records > 0 {
                return Stop::Undelivered;
            }
        }
    }

    /// Hands a frame over to the sink, which has room for it.
    fn accept(&mut self, frame: Frame, read: &mut Counts) -> Result<(), Rejected> {
        let Some(record) = self.reader.record(frame)? else { return Ok(()) };
        let data = record.data().clone();
        match self.sink.start_send_unpin(record) {
            Ok(()) => {
                read.records += 1;
                read.bytes += data.len() as u64;
                if let Some(tally) = &mut self.tally {
                    tally.add(&data);
                }
                Ok(())
            }
            Err(error) => Err(Rejected { why: Bad::Record(error), data: Some(data) }),
        }
    }

    /// Goes on without a frame that makes no record, if the dead-letter file takes it.
    fn set_aside(&mut self, rejected: &Rejected, read: &mut Counts) -> Option<Stop> {
        read.bad += 1;
        let at = format!("{} {}", self.reader.unit(), read.frames);
        let taken = self.dead_letters.as_ref().is_some_and(|file| file.put_rejected(rejected, &at));
        (!taken).then(|| Stop::BadInput(format!("{at}: {}", rejected.why)))
    }

    /// Waits until everything is settled, or the user has waited enough.
    async fn drain(&mut self, read: &Counts, ticks: &mut Interval, stop: &mut Stop) {
        let Self { sink, interrupts, progress, .. } = self;
        loop {
            let closed = tokio::select! {
                biased;
                interrupt = interrupts.next() => {
                    if matches!(stop, Stop::Interrupted(_)) {
                        return;
                    }
                    progress.say_draining(interrupt);
                    *stop = Stop::Interrupted(interrupt);
                    continue;
                }
                _ = ticks.tick() => {
                    progress.show(read, sink);
                    continue;
                }
                closed = sink.close() => closed,
            };
            match closed {
                // The sink keeps what has failed until it is given up.
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Undelivered => {}
                Err(error) => *stop = Stop::Error(error.into()),
            }
            return;
        }
    }

    /// Puts what the sink still has into the dead-letter file, or counts it.
    fn give_up(&mut self) -> Left {
        let mut left = Left::default();
        for undelivered in self.sink.take_undelivered() {
            let not_taken = match &mut self.dead_letters {
                Some(file) => file.put(undelivered),
                None => Some(undelivered),
            };
            if let Some(undelivered) = not_taken {
                left.add(&undelivered);
            }
        }
        left
    }
}

/// A frame, once there is room for it: while the sink is full nothing is read, so that nothing is in no
/// one's hands. Dropping the future that polls this changes nothing.
fn next(
    sink: &mut KinesisSink,
    input: &mut Input,
    cx: &mut Context<'_>,
) -> Poll<Result<Frame, Over>> {
    ready!(sink.poll_ready_unpin(cx)).map_err(Over::Sink)?;
    match input.poll_next_unpin(cx) {
        Poll::Ready(Some(Ok(frame))) => Poll::Ready(Ok(frame)),
        Poll::Ready(Some(Err(error))) => Poll::Ready(Err(Over::Input(Some(error)))),
        Poll::Ready(None) => Poll::Ready(Err(Over::Input(None))),
        // Nothing comes at present, so what is there should go.
        Poll::Pending => match sink.poll_flush_unpin(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(Over::Sink(error))),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
        },
    }
}
