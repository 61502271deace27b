//! The sink, or a producer with a spool.

use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::SinkExt;
use kinesis_sink::producer::ProducerSink;
use kinesis_sink::status::Status;
use kinesis_sink::{Error, KinesisSink, Producer, Record, Undelivered};

pub enum Outlet {
    Direct(KinesisSink),
    Spooled(Spooled),
}

pub struct Spooled {
    producer: Producer,
    sink: ProducerSink,
    /// Failed records that closing the producer returned.
    undelivered: Vec<Undelivered>,
}

impl Spooled {
    pub fn new(producer: Producer) -> Self {
        let sink = producer.sink();
        Self { producer, sink, undelivered: Vec::new() }
    }

    /// Returns the number of records that were found in the spool.
    pub fn recovered(&self) -> u64 {
        self.producer.recovered()
    }

    fn closed(&mut self, closed: Result<(), Error>) -> Result<(), Error> {
        let Err(error) = closed else { return Ok(()) };
        if error.undelivered().is_empty() {
            return Err(error);
        }
        self.undelivered.extend(error.into_undelivered());
        Ok(())
    }
}

impl Outlet {
    pub fn is_spooled(&self) -> bool {
        matches!(self, Self::Spooled(_))
    }

    pub fn status(&self) -> Status {
        match self {
            Self::Direct(sink) => sink.status(),
            Self::Spooled(spooled) => spooled.producer.status(),
        }
    }

    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match self {
            Self::Direct(sink) => sink.poll_ready_unpin(cx),
            Self::Spooled(spooled) => spooled.sink.poll_ready_unpin(cx),
        }
    }

    /// Accepts a record. With a spool, the record is on disk only a moment later.
    pub fn start_send(&mut self, record: Record) -> Result<(), Error> {
        match self {
            Self::Direct(sink) => sink.start_send_unpin(record),
            Self::Spooled(spooled) => spooled.sink.start_send_unpin(record),
        }
    }

    /// Sends buffered records while the input pauses. Is ready only with an error.
    pub fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        match self {
            Self::Direct(sink) => match ready!(sink.poll_flush_unpin(cx)) {
                Err(error) => Poll::Ready(error),
                Ok(()) => Poll::Pending,
            },
            // The driver of the producer sends by itself.
            Self::Spooled(_) => Poll::Pending,
        }
    }

    /// Delivers all records, also those of the spool. If the future is dropped, the next call continues.
    pub async fn close(&mut self) -> Result<(), Error> {
        match self {
            Self::Direct(sink) => sink.close().await,
            Self::Spooled(spooled) => {
                let closed = spooled.producer.close().await;
                spooled.closed(closed)
            }
        }
    }

    /// Closes at once and leaves undelivered records in the spool. Does nothing without a spool.
    pub async fn leave(&mut self) -> Result<(), Error> {
        match self {
            Self::Direct(_) => Ok(()),
            Self::Spooled(spooled) => {
                let closed = spooled.producer.close_within(Duration::ZERO).await;
                spooled.closed(closed)
            }
        }
    }

    /// Returns the records that have failed, and without a spool also those that were not delivered.
    pub fn take_undelivered(&mut self) -> Vec<Undelivered> {
        match self {
            Self::Direct(sink) => sink.take_undelivered(),
            Self::Spooled(spooled) => std::mem::take(&mut spooled.undelivered),
        }
    }
}
