//! Replaces the spool without the feature `spool`. The types have no values, so none of the code is compiled.

use std::ops::Range;
use std::sync::Arc;
use std::task::{Context, Waker};

use crate::error::{Error, Rejection};
use crate::limits::RecordError;
use crate::producer::capacity::Permit;
use crate::producer::channel::{Channel, FlushReply};
use crate::producer::driver::{Drained, Driver};
use crate::record::{AttemptError, Record, Undelivered};
use crate::sink::Core;

#[derive(Debug)]
pub(in crate::producer) enum Spooling {}

#[derive(Debug)]
pub(in crate::producer) enum Intake {}

impl Intake {
    pub(in crate::producer) fn new(_: &Core) -> Option<Box<Self>> {
        None
    }
}

impl Spooling {
    pub(in crate::producer) fn new(_: &Core) -> Option<Box<Self>> {
        None
    }

    pub(in crate::producer) fn diverts(&self) -> bool {
        match *self {}
    }

    pub(in crate::producer) fn check(&self, _: &Record) -> Result<(), RecordError> {
        match *self {}
    }

    pub(in crate::producer) fn largest_record(&self) -> Option<usize> {
        match *self {}
    }

    pub(in crate::producer) async fn acquire(&self, _: usize) -> Option<Permit> {
        match *self {}
    }

    pub(in crate::producer) fn is_empty(&self) -> bool {
        match *self {}
    }

    pub(in crate::producer) fn close(&self) {
        match *self {}
    }

    pub(in crate::producer) fn request_release(&self) {
        match *self {}
    }

    pub(in crate::producer) async fn released(&self) {
        match *self {}
    }

    pub(in crate::producer) fn take_unwritten(&self) -> Vec<Undelivered> {
        match *self {}
    }

    pub(in crate::producer) fn acknowledge_collected(&self) {
        match *self {}
    }

    pub(in crate::producer) fn flush(&self) -> FlushReply {
        match *self {}
    }
}

impl Channel {
    pub(in crate::producer) fn collect_seqs(&self, _: Vec<Range<u64>>) {}

    pub(in crate::producer) fn try_reserve_staged(
        &self,
        spooling: &Spooling,
        _: usize,
    ) -> Result<Permit, Rejection> {
        match *spooling {}
    }

    pub(in crate::producer) fn stage(
        &self,
        spooling: &Spooling,
        _: Record,
        _: Permit,
    ) -> Result<(), Error> {
        match *spooling {}
    }

    pub(in crate::producer) fn stage_beyond(
        &self,
        spooling: &Spooling,
        _: Record,
    ) -> Result<(), Error> {
        match *spooling {}
    }

    pub(in crate::producer) async fn write(
        &self,
        spooling: &Spooling,
        _: Record,
        _: Permit,
    ) -> Result<(), Error> {
        match *spooling {}
    }
}

impl<S> Driver<S> {
    pub(in crate::producer) fn take_spooled(&mut self, _: &Waker) -> bool {
        false
    }

    pub(in crate::producer) fn admit_spooled(&mut self, _: &mut Context<'_>, _: usize) -> Drained {
        Drained::default()
    }

    pub(in crate::producer) fn can_admit_spooled(&self) -> bool {
        false
    }

    pub(in crate::producer) fn waiting_spooled(&self) -> Option<usize> {
        None
    }

    pub(in crate::producer) fn drive_diversion(&mut self) {}

    pub(in crate::producer) fn acknowledge(&mut self) {}

    pub(in crate::producer) fn departed(&mut self) -> Vec<Range<u64>> {
        Vec::new()
    }

    pub(in crate::producer) fn return_if_blocked(&mut self) {}

    pub(in crate::producer) fn is_spool_drained(&self) -> bool {
        true
    }

    pub(in crate::producer) fn abort_into_spool(&mut self) -> bool {
        false
    }

    pub(in crate::producer) fn stop_into_spool(&mut self, _: &Arc<AttemptError>) -> bool {
        false
    }

    pub(in crate::producer) fn abandon_into_spool(&mut self) -> Option<(usize, Vec<Undelivered>)> {
        None
    }

    pub(in crate::producer) fn take_spooled_flushes(&mut self) {}

    pub(in crate::producer) fn end_spool(&mut self) -> Vec<Range<u64>> {
        Vec::new()
    }
}
