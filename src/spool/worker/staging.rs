use std::collections::VecDeque;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::outlet::FlushReply;
use crate::error::Rejection;
use crate::pipeline::Size;
use crate::record::Record;

/// Result of writing a record, for the caller that waits for it. A record that was not accepted is returned.
pub(crate) type WriteReply = oneshot::Sender<Result<(), (Record, Rejection)>>;

/// Records that are about to be written, in the order in which they will be.
#[derive(Debug, Default)]
pub(super) struct Staging {
    queue: VecDeque<Staged>,
    next_id: u64,
    is_closed: bool,
}

/// Group of records that the thread of the spool has taken.
pub(super) type Group = VecDeque<Staged>;

#[derive(Debug)]
pub(super) enum Staged {
    Record(StagedRecord),
    /// Flush of all earlier records.
    Flush(FlushReply),
}

#[derive(Debug)]
pub(super) struct StagedRecord {
    id: u64,
    pub(super) record: Record,
    pub(super) accepted_at: Instant,
    /// `None` if the caller does not wait.
    pub(super) reply: Option<WriteReply>,
}

impl Staging {
    /// Adds a record, and returns the number with which it can be [withdrawn](Self::withdraw). Returns the record if the
    /// staging was closed.
    pub(super) fn push(
        &mut self,
        record: Record,
        accepted_at: Instant,
        reply: Option<WriteReply>,
    ) -> Result<u64, Record> {
        if self.is_closed {
            return Err(record);
        }
        let id = self.next_id;
        self.next_id += 1;
        self.queue.push_back(Staged::Record(StagedRecord { id, record, accepted_at, reply }));
        Ok(id)
    }

    pub(super) fn push_flush(&mut self, reply: FlushReply) {
        self.queue.push_back(Staged::Flush(reply));
    }

    /// Withdraws a record, unless a thread has taken it.
    pub(super) fn withdraw(&mut self, id: u64) -> Option<Record> {
        let position = self.queue.iter().position(|staged| staged.has_id(id))?;
        match self.queue.remove(position)? {
            Staged::Record(staged) => Some(staged.record),
            Staged::Flush(_) => None,
        }
    }

    pub(super) fn take(&mut self) -> Group {
        std::mem::take(&mut self.queue)
    }

    /// Puts the rest of a group back, in front of the records that were added in the meantime.
    pub(super) fn restore(&mut self, mut rest: Group) {
        rest.append(&mut self.queue);
        self.queue = rest;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Returns the number of records.
    pub(super) fn records(&self) -> usize {
        self.queue.iter().filter(|staged| matches!(staged, Staged::Record(_))).count()
    }

    /// Accepts no more records.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
    }

    /// Takes the records whose callers wait out of the queue.
    pub(super) fn take_waiting(&mut self) -> Vec<StagedRecord> {
        let mut waiting = Vec::new();
        for staged in self.take() {
            match staged {
                Staged::Record(staged) if staged.reply.is_some() => waiting.push(staged),
                other => self.queue.push_back(other),
            }
        }
        waiting
    }

    /// Takes the flushes out of the queue.
    pub(super) fn take_flushes(&mut self) -> Vec<FlushReply> {
        let mut flushes = Vec::new();
        for staged in self.take() {
            match staged {
                Staged::Flush(reply) => flushes.push(reply),
                record @ Staged::Record(_) => self.queue.push_back(record),
            }
        }
        flushes
    }
}

impl Staged {
    fn has_id(&self, id: u64) -> bool {
        matches!(self, Self::Record(staged) if staged.id == id)
    }

    pub(super) fn is_flush(&self) -> bool {
        matches!(self, Self::Flush(_))
    }

    pub(super) fn as_record(&self) -> Option<&StagedRecord> {
        match self {
            Self::Record(staged) => Some(staged),
            Self::Flush(_) => None,
        }
    }
}

/// Returns the size of the records in a group.
pub(super) fn size_of_records<'a>(group: impl IntoIterator<Item = &'a Staged>) -> Size {
    let mut size = Size::default();
    for staged in group.into_iter().filter_map(Staged::as_record) {
        size.add_record(staged.record.size());
    }
    size
}

#[cfg(test)]
mod tests {
    use super::*;

    fn staged(staging: &mut Staging, data: &'static str) -> u64 {
        staging.push(Record::from(data), Instant::now(), None).unwrap()
    }

    fn data(group: &Group) -> Vec<&[u8]> {
        group.iter().filter_map(Staged::as_record).map(|staged| &staged.record.data()[..]).collect()
    }

    #[test]
    fn restored_records_precede_later_ones() {
        let mut staging = Staging::default();
        for data in ["a", "b", "c"] {
            staged(&mut staging, data);
        }
        let mut group = staging.take();
        assert!(staging.is_empty());
        staged(&mut staging, "d");
        group.pop_front();
        staging.restore(group);
        assert_eq!(staging.records(), 3);
        assert_eq!(data(&staging.take()), [b"b", b"c", b"d"]);
    }

    #[test]
    fn record_is_withdrawn_until_taken() {
        let mut staging = Staging::default();
        let (a, b) = (staged(&mut staging, "a"), staged(&mut staging, "b"));
        assert_eq!(staging.withdraw(a).unwrap().data(), "a");
        assert!(staging.withdraw(a).is_none());
        let group = staging.take();
        assert!(staging.withdraw(b).is_none(), "the record is being written");
        staging.restore(group);
        assert_eq!(staging.withdraw(b).unwrap().data(), "b", "the record was not written");
    }

    #[test]
    fn closed_staging_returns_record() {
        let mut staging = Staging::default();
        staged(&mut staging, "a");
        staging.close();
        let returned = staging.push(Record::from("b"), Instant::now(), None).unwrap_err();
        assert_eq!(returned.data(), "b");
        assert_eq!(data(&staging.take()), [b"a"]);
    }

    #[test]
    fn flushes_are_taken_without_records() {
        let mut staging = Staging::default();
        staged(&mut staging, "a");
        staging.push_flush(oneshot::channel().0);
        staged(&mut staging, "b");
        assert_eq!(staging.take_flushes().len(), 1);
        assert_eq!(data(&staging.take()), [b"a", b"b"]);
    }
}
