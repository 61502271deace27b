//! Fair division of a bounded buffer between members, without locks and tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::task::Waker;

use crate::pipeline::Size;

/// Number of a member. The numbers of removed members are reused.
pub(crate) type MemberId = usize;

/// Position of a waiter in the order of arrival.
pub(super) type Ticket = u64;

/// Fraction of the bounds, as a multiple of 2^-52. The larger of the fractions of records and bytes counts.
type Part = u64;

const WHOLE: f64 = (1_u64 << 52) as f64;

/// Divides bounds for records and bytes between members.
///
/// A member can grow while the part that it holds is at most as large as the part that is free. A member that never
/// releases anything therefore holds at most one half of the bounds, two such members hold at most one third each, and
/// the others always find a free part. A member that holds nothing gets whatever is free. Parts that a member does not
/// use are available to the others.
///
/// Each member has a queue of waiters, which are served in the order of arrival. When space is released, the waiting
/// member with the smallest part is served first, and among equal parts the one that was served least recently.
#[derive(Debug)]
pub(super) struct FairShare {
    bounds: Size,
    /// Factors that convert a number of records and of bytes into a [`Part`].
    scale: (f64, f64),
    used: Size,
    members: Vec<Member>,
    unused: Vec<MemberId>,
    /// Members with waiters.
    waiting: BTreeSet<WaitingMember>,
    next_ticket: Ticket,
    /// Next waiting member, if it needs more than what is free. It is then served before all members that follow it, so
    /// that small records do not starve a large one.
    reserved: Option<WaitingMember>,
    /// `false` while there is only one possible member, which can then use everything.
    has_shares: bool,
    is_closed: bool,
    /// Number of granted requests that are neither committed nor released.
    permits: usize,
}

/// Waiting member, in the order in which members are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct WaitingMember {
    part: Part,
    served: Ticket,
    /// First waiter.
    ticket: Ticket,
    id: MemberId,
}

#[derive(Debug, Default)]
struct Member {
    used: Size,
    /// Ticket that was next when a waiter of this member was last served.
    served: Ticket,
    waiters: BTreeMap<Ticket, Waiter>,
}

#[derive(Debug)]
struct Waiter {
    bytes: usize,
    waker: Waker,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fit {
    Fits,
    /// The member already holds its share.
    Share,
    /// Less is free than the request needs.
    Full,
}

/// State of a queued request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    Queued,
    Granted,
    Closed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AcquireError {
    Full,
    /// The member holds its share or has waiters. Other members can have capacity.
    Share,
    Closed,
}

impl FairShare {
    pub(super) fn new(bounds: Size) -> Self {
        Self {
            bounds,
            scale: (WHOLE / bounds.records.max(1) as f64, WHOLE / bounds.bytes.max(1) as f64),
            used: Size::default(),
            members: Vec::new(),
            unused: Vec::new(),
            waiting: BTreeSet::new(),
            next_ticket: 0,
            reserved: None,
            has_shares: true,
            is_closed: false,
            permits: 0,
        }
    }

    /// Adds a member and returns its number.
    pub(super) fn add(&mut self) -> MemberId {
        self.unused.pop().unwrap_or_else(|| {
            self.members.push(Member::default());
            self.members.len() - 1
        })
    }

    /// Removes a member and releases all that it holds. The member must not have waiters.
    pub(super) fn remove(&mut self, id: MemberId) -> Vec<Waker> {
        let member = std::mem::take(&mut self.members[id]);
        debug_assert!(member.waiters.is_empty(), "a waiter keeps its member");
        self.used -= member.used;
        self.unused.push(id);
        self.grant()
    }

    /// Sets whether members are limited to their share. Without shares, only the bounds apply.
    pub(super) fn set_shares(&mut self, has_shares: bool) -> Vec<Waker> {
        if self.has_shares == has_shares {
            return Vec::new();
        }
        self.has_shares = has_shares;
        self.grant()
    }

    /// Charges a request of one record to a member if it fits and no earlier request has to be served first.
    pub(super) fn try_acquire(&mut self, id: MemberId, bytes: usize) -> Result<(), AcquireError> {
        if self.is_closed {
            return Err(AcquireError::Closed);
        }
        let is_reserved = self.reserved.is_some_and(|reserved| reserved < self.newcomer(id));
        match self.fit(id, bytes) {
            Fit::Full => return Err(AcquireError::Full),
            Fit::Share => return Err(AcquireError::Share),
            Fit::Fits if self.is_waiting(id) || is_reserved => return Err(AcquireError::Share),
            Fit::Fits => {}
        }
        self.permits += 1;
        self.next_ticket += 1;
        let next_ticket = self.next_ticket;
        self.add_used(id, Size { records: 1, bytes });
        self.members[id].served = next_ticket;
        Ok(())
    }

    /// Queues a request of one record. [`poll`](Self::poll) returns its state.
    pub(super) fn enqueue(&mut self, id: MemberId, bytes: usize, waker: Waker) -> Ticket {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.update(id, |member| member.waiters.insert(ticket, Waiter { bytes, waker }));
        // Sets the reservation if the new waiter is the next one and needs more than what is free.
        let woken = self.grant();
        debug_assert!(woken.is_empty(), "a request that fits is not queued");
        ticket
    }

    /// Returns the state of a queued request. A waker that is no longer needed is returned, because dropping it can run
    /// code that uses the same budget.
    pub(super) fn poll(
        &mut self,
        id: MemberId,
        ticket: Ticket,
        waker: &Waker,
    ) -> (Waiting, Option<Waker>) {
        let Some(waiter) = self.members[id].waiters.get_mut(&ticket) else {
            return (Waiting::Granted, None);
        };
        if self.is_closed {
            let removed = self.update(id, |member| member.waiters.remove(&ticket));
            return (Waiting::Closed, removed.map(|waiter| waiter.waker));
        }
        let is_same = waiter.waker.will_wake(waker);
        let replaced = (!is_same).then(|| std::mem::replace(&mut waiter.waker, waker.clone()));
        (Waiting::Queued, replaced)
    }

    /// Removes a queued request and returns its waker, or releases the charge of the request if it was granted.
    pub(super) fn cancel(
        &mut self,
        id: MemberId,
        ticket: Ticket,
        bytes: usize,
    ) -> (Option<Waker>, Vec<Waker>) {
        match self.update(id, |member| member.waiters.remove(&ticket)) {
            Some(waiter) => (Some(waiter.waker), self.grant()),
            None => (None, self.release_permit(id, bytes)),
        }
    }

    /// Releases the charge of a granted request.
    pub(super) fn release_permit(&mut self, id: MemberId, bytes: usize) -> Vec<Waker> {
        self.permits -= 1;
        self.release([(id, Size { records: 1, bytes })])
    }

    /// Turns the charge of a granted request into a charge of a record, possibly of another member and size.
    pub(super) fn commit(
        &mut self,
        granted: (MemberId, usize),
        id: MemberId,
        bytes: usize,
    ) -> Vec<Waker> {
        self.permits -= 1;
        if granted == (id, bytes) {
            return Vec::new();
        }
        self.add_used(id, Size { records: 1, bytes });
        self.subtract_used(granted.0, Size { records: 1, bytes: granted.1 });
        self.grant()
    }

    /// Charges a member even beyond its share and the bounds. Must be followed by [`release`](Self::release).
    pub(super) fn charge(&mut self, id: MemberId, size: Size) {
        if size != Size::default() {
            self.add_used(id, size);
        }
    }

    /// Releases charges, and returns the wakers of the requests that are granted as a result.
    pub(super) fn release(
        &mut self,
        releases: impl IntoIterator<Item = (MemberId, Size)>,
    ) -> Vec<Waker> {
        for (id, size) in releases {
            self.subtract_used(id, size);
        }
        self.grant()
    }

    /// Closes the queues. All waiters are woken and [rejected](Waiting::Closed).
    pub(super) fn close(&mut self) -> Vec<Waker> {
        self.is_closed = true;
        let wakers = self.waiting.iter().flat_map(|member| {
            self.members[member.id].waiters.values().map(|waiter| waiter.waker.clone())
        });
        wakers.collect()
    }

    pub(super) fn used(&self) -> Size {
        self.used
    }

    fn used_by(&self, id: MemberId) -> Size {
        self.members.get(id).map_or(Size::default(), |member| member.used)
    }

    pub(super) fn permits(&self) -> usize {
        self.permits
    }

    pub(super) fn is_waiting(&self, id: MemberId) -> bool {
        self.members.get(id).is_some_and(|member| !member.waiters.is_empty())
    }

    fn fit(&self, id: MemberId, bytes: usize) -> Fit {
        let mut used = self.used;
        used.add_record(bytes);
        if used.records > self.bounds.records || used.bytes > self.bounds.bytes {
            return Fit::Full;
        }
        let mut held = self.used_by(id);
        if !self.has_shares || held == Size::default() {
            return Fit::Fits;
        }
        held.add_record(bytes);
        if self.part(held) <= self.free_part(used) { Fit::Fits } else { Fit::Share }
    }

    /// Serves waiters until the next one does not fit. Returns the wakers of those that were served.
    fn grant(&mut self) -> Vec<Waker> {
        let mut wakers = Vec::new();
        self.reserved = None;
        if self.is_closed {
            return wakers;
        }
        while let Some((id, ticket)) = self.next_to_serve() {
            let next_ticket = self.next_ticket;
            self.next_ticket += 1;
            let served = self.update(id, |member| {
                let waiter = member.waiters.remove(&ticket)?;
                member.served = next_ticket;
                member.used.add_record(waiter.bytes);
                Some(waiter)
            });
            if let Some(Waiter { bytes, waker }) = served {
                self.used.add_record(bytes);
                self.permits += 1;
                wakers.push(waker);
            }
        }
        wakers
    }

    fn next_to_serve(&mut self) -> Option<(MemberId, Ticket)> {
        let free = self.free_part(self.used);
        for &member in &self.waiting {
            let WaitingMember { part, ticket, id, .. } = member;
            // The set is in the order of parts, so the remaining members hold their share as well.
            if self.has_shares && part > free {
                return None;
            }
            match self.fit(id, self.members[id].waiters[&ticket].bytes) {
                Fit::Fits => return Some((id, ticket)),
                Fit::Share => {}
                Fit::Full => {
                    self.reserved = Some(member);
                    return None;
                }
            }
        }
        None
    }

    fn add_used(&mut self, id: MemberId, size: Size) {
        self.used += size;
        self.update(id, |member| member.used += size);
    }

    fn subtract_used(&mut self, id: MemberId, size: Size) {
        self.used -= size;
        self.update(id, |member| member.used -= size);
    }

    /// Changes a member and keeps its position among the waiting members up to date.
    fn update<T>(&mut self, id: MemberId, change: impl FnOnce(&mut Member) -> T) -> T {
        if id >= self.members.len() {
            self.members.resize_with(id + 1, Member::default);
        }
        if let Some(key) = self.key(id) {
            self.waiting.remove(&key);
        }
        let changed = change(&mut self.members[id]);
        if let Some(key) = self.key(id) {
            self.waiting.insert(key);
        }
        changed
    }

    fn key(&self, id: MemberId) -> Option<WaitingMember> {
        let Member { used, served, waiters } = &self.members[id];
        let (&ticket, _) = waiters.first_key_value()?;
        Some(WaitingMember { part: self.part(*used), served: *served, ticket, id })
    }

    /// Returns the position that a new waiter of a member without waiters would have.
    fn newcomer(&self, id: MemberId) -> WaitingMember {
        let served = self.members.get(id).map_or(0, |member| member.served);
        WaitingMember { part: self.part(self.used_by(id)), served, ticket: self.next_ticket, id }
    }

    fn part(&self, size: Size) -> Part {
        let (records, bytes) = self.scale;
        (size.records as f64 * records).max(size.bytes as f64 * bytes) as Part
    }

    /// Returns the free part if `used` is in use: the smaller of the fractions of records and bytes.
    fn free_part(&self, used: Size) -> Part {
        let (records, bytes) = self.scale;
        let free_records = self.bounds.records.saturating_sub(used.records) as f64 * records;
        let free_bytes = self.bounds.bytes.saturating_sub(used.bytes) as f64 * bytes;
        free_records.min(free_bytes) as Part
    }
}

#[cfg(test)]
mod tests;
