use std::ops::Range;
use std::task::Waker;

use super::outlet::Outlet;
use super::spill::Diversion;
use super::staging::{Group, Staging};
use crate::spool::log::LogStats;

/// State shared by the handles of a producer, its driver, and the thread of the spool.
#[derive(Debug)]
pub(super) struct State {
    pub(super) staging: Staging,
    pub(super) outlet: Outlet,
    pub(super) diversion: Diversion,
    /// Records that have left the pipeline, and that the thread has not acknowledged yet.
    pub(super) acknowledged: Vec<Range<u64>>,
    /// Number of records that the thread has taken and is writing.
    pub(super) in_hand: usize,
    /// Sequence number of the next record that is written.
    pub(super) appended: u64,
    pub(super) phase: Phase,
    /// Set to `true` once the driver takes no more records.
    pub(super) driver_ended: bool,
    /// Set to `true` if the receipts of the records that the driver has not taken must be completed.
    pub(super) must_leave: bool,
    pub(super) sleep: Sleep,
    pub(super) is_full: bool,
    pub(super) stats: LogStats,
    pub(super) last_error: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// The thread writes what it can, and ends.
    Closing,
    /// The thread has ended and released the directory.
    Closed,
}

/// State of the thread, which decides what wakes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sleep {
    /// Works, or is about to.
    Awake,
    /// Sleeps until there is something to do.
    Idle,
    /// Sleeps until its next tick, when it also processes acknowledgements.
    UntilTick,
    /// Sleeps until there is space on the disk, or until the next attempt.
    Full,
}

impl State {
    pub(super) fn new(first: u64, appended: u64, diversion: Diversion) -> Self {
        Self {
            staging: Staging::default(),
            outlet: Outlet::new(first),
            diversion,
            acknowledged: Vec::new(),
            in_hand: 0,
            appended,
            phase: Phase::Open,
            driver_ended: false,
            must_leave: false,
            sleep: Sleep::Awake,
            is_full: false,
            stats: LogStats::default(),
            last_error: None,
        }
    }

    /// Returns the number of records in the spool, including those that are not written yet.
    pub(super) fn records(&self) -> u64 {
        let acknowledged: u64 = self.acknowledged.iter().map(|range| range.end - range.start).sum();
        let written = self.stats.records.saturating_sub(acknowledged);
        written + (self.staging.records() + self.in_hand) as u64
    }

    /// Returns `true` if the driver has taken all records.
    pub(super) fn is_drained(&self) -> bool {
        self.phase == Phase::Closed
            || self.staging.is_empty()
                && self.in_hand == 0
                && self.outlet.is_empty()
                && self.outlet.loaded() >= self.appended
    }

    /// Returns `true` if the thread should read records from the disk.
    pub(super) fn wants_load(&self) -> bool {
        !self.driver_ended
            && self.outlet.loaded() < self.appended
            && self.outlet.free_space().is_some()
    }

    /// Lets staged records be written when the spool closes, although the driver has not provided the records in the
    /// buffer, or although they were not written. The driver has returned those to their owner.
    pub(super) fn end_diversion(&mut self) {
        if matches!(self.diversion, Diversion::Wanted | Diversion::Spilling(_)) {
            self.diversion = Diversion::On;
        }
    }

    /// Returns `true` if there are records to write.
    pub(super) fn wants_write(&self) -> bool {
        self.diversion.has_spill() || (!self.staging.is_empty() && self.diversion.writes_staged())
    }

    pub(super) fn take_group(&mut self) -> Group {
        if !self.diversion.writes_staged() {
            return Group::new();
        }
        let group = self.staging.take();
        self.in_hand = group.iter().filter(|staged| staged.as_record().is_some()).count();
        group
    }

    pub(super) fn take_driver(&mut self) -> Option<Waker> {
        self.outlet.take_waker()
    }
}
