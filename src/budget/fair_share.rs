//! Fair division of a bounded buffer between members, without locks and tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::task::Waker;

use crate::pipeline::Size;

/// Number of a member. The numbers of removed members are reused.
pub(crate) type MemberId = usize;

/// Position of a waiter in the order of arrival.
pub(super) type Ticket = u64;

/// Fraction of the bounds, as a multiple of 2^-52. The larger of the fractions of records and bytes counts.
type Usage = u64;

const WHOLE: f64 = (1_u64 << 52) as f64;

/// Maximum number of members that are searched for one that can pass a member whose request does not fit.
const MAX_SCANNED: usize = 16;

/// Minimum number of members for which a budget has reserves, because members can be added later.
pub(super) const MIN_RESERVES: usize = 16;

/// Divides bounds for records and bytes between members.
///
/// Half of the bounds is divided into equal reserves, one for each member. The rest is common space. A member can use it
/// as long as it uses at most as much as is free afterwards, so a member that never releases anything takes at most half
/// of what the others have left. A member that holds nothing gets whatever is free.
///
/// Members can already use the space of a reserve when it is created. Until it is free, the rule for the common space
/// applies to all of the space.
///
/// Each member has a queue of waiters, which are served in the order of arrival. When space is released, the waiting
/// member with the smallest usage is served first, and among equal usages the one that was served least recently.
#[derive(Debug)]
pub(super) struct FairShare {
    bounds: Size,
    /// Factors that convert a number of records and of bytes into a [`Usage`].
    scale: (f64, f64),
    used: Size,
    /// Space that each member has for itself.
    reserve: Size,
    /// Number of members for which there are reserves. There can be fewer members.
    reserves: usize,
    min_reserves: usize,
    /// Common space that is in use: the sizes of the members beyond their reserves.
    common_used: Size,
    members: Vec<Member>,
    /// Number of members while all of them [rest](Self::rest). `members` is then empty.
    resting: usize,
    free_ids: Vec<MemberId>,
    /// Members with waiters.
    waiting: BTreeSet<WaitingMember>,
    next_ticket: Ticket,
    /// Next waiting member, if it needs more than what is free. It is then served before all members that follow it, so
    /// that small records do not starve a large one.
    blocked: Option<WaitingMember>,
    /// `false` while the shards of a stream are unknown. Only the bounds apply then.
    has_shares: bool,
    is_closed: bool,
    /// Number of granted requests that are neither committed nor released.
    permits: usize,
}

/// Waiting member, in the order in which members are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct WaitingMember {
    usage: Usage,
    last_served: Ticket,
    /// First waiter.
    ticket: Ticket,
    id: MemberId,
}

#[derive(Debug, Default)]
struct Member {
    used: Size,
    /// Ticket that was next when a waiter of this member was last served.
    last_served: Ticket,
    waiters: BTreeMap<Ticket, Waiter>,
}

#[derive(Debug)]
struct Waiter {
    bytes: usize,
    waker: Waker,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fit {
    /// The request fits into the reserve of the member.
    Reserve,
    Common,
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
    pub(super) fn new(bounds: Size, min_reserves: usize) -> Self {
        Self {
            bounds,
            scale: (WHOLE / bounds.records.max(1) as f64, WHOLE / bounds.bytes.max(1) as f64),
            used: Size::default(),
            reserve: Size::default(),
            reserves: 0,
            min_reserves,
            common_used: Size::default(),
            members: Vec::new(),
            resting: 0,
            free_ids: Vec::new(),
            waiting: BTreeSet::new(),
            next_ticket: 0,
            blocked: None,
            has_shares: true,
            is_closed: false,
            permits: 0,
        }
    }

    /// Adds a member and returns its number. Also returns the wakers of the requests that are granted as a result,
    /// because the common space can grow.
    pub(super) fn add(&mut self) -> (MemberId, Vec<Waker>) {
        let id = self.free_ids.pop().unwrap_or(self.members.len());
        if id == self.members.len() {
            self.members.push(Member::default());
        }
        // A new member follows the members that wait already.
        self.next_ticket += 1;
        self.members[id].last_served = self.next_ticket;
        self.resize_reserves();
        (id, self.grant())
    }

    /// Removes a member and releases all that it holds. The member must not have waiters.
    pub(super) fn remove(&mut self, id: MemberId) -> Vec<Waker> {
        debug_assert!(!self.is_waiting(id), "a waiter keeps its member");
        self.subtract_used(id, self.used_by(id));
        self.members[id] = Member::default();
        self.free_ids.push(id);
        self.resize_reserves();
        self.grant()
    }

    /// Changes the number of reserves if there are more members, or fewer than a quarter as many. The number is a power
    /// of two, so that the members are seldom counted again.
    fn resize_reserves(&mut self) {
        let members = (self.members.len() - self.free_ids.len()).max(self.min_reserves);
        if members > self.reserves || members * 4 < self.reserves {
            self.set_reserves(members.next_power_of_two());
        }
    }

    fn set_reserves(&mut self, reserves: usize) {
        self.reserves = reserves;
        let Size { records, bytes } = self.bounds;
        let halves = 2 * self.reserves;
        self.reserve = Size { records: records / halves, bytes: bytes / halves };
        self.common_used = Size::default();
        for member in &self.members {
            self.common_used += beyond(member.used, self.reserve);
        }
    }

    /// Returns the common space: the bounds without the reserves.
    fn common(&self) -> Size {
        Size {
            records: self.bounds.records - self.reserve.records * self.reserves,
            bytes: self.bounds.bytes - self.reserve.bytes * self.reserves,
        }
    }

    /// Sets the number of members, of which none is ever removed, and whether they are limited to their share. Without
    /// shares, only the bounds apply.
    pub(super) fn set_members(&mut self, members: usize, has_shares: bool) -> Vec<Waker> {
        self.resume();
        let is_larger = members > self.members.len();
        if is_larger {
            self.members.resize_with(members, Member::default);
            self.set_reserves(members);
        }
        if self.has_shares == has_shares && !is_larger {
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
        let is_behind_blocked =
            self.blocked.is_some_and(|blocked| blocked < self.position_of_new_waiter(id));
        match self.fit(id, bytes) {
            Fit::Full => return Err(AcquireError::Full),
            Fit::Share => return Err(AcquireError::Share),
            Fit::Common if is_behind_blocked => return Err(AcquireError::Share),
            Fit::Reserve | Fit::Common if self.is_waiting(id) => return Err(AcquireError::Share),
            Fit::Reserve | Fit::Common => {}
        }
        self.permits += 1;
        self.next_ticket += 1;
        let next_ticket = self.next_ticket;
        self.add_used(id, Size { records: 1, bytes });
        self.members[id].last_served = next_ticket;
        Ok(())
    }

    /// Queues a request of one record. [`poll`](Self::poll) returns its state. Also returns the wakers of the requests
    /// that are granted as a result.
    pub(super) fn enqueue(
        &mut self,
        id: MemberId,
        bytes: usize,
        waker: Waker,
    ) -> (Ticket, Vec<Waker>) {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.update(id, |member| member.waiters.insert(ticket, Waiter { bytes, waker }));
        // The new waiter can be the next one, and need more than what is free.
        (ticket, self.grant())
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

    /// Releases the memory of all members if they hold nothing. They keep their reserves. Must not be called if members
    /// were [added](Self::add).
    pub(super) fn rest(&mut self) {
        if self.used == Size::default() && self.waiting.is_empty() && self.resting == 0 {
            self.resting = self.members.len();
            self.members = Vec::new();
        }
    }

    fn resume(&mut self) {
        if self.resting > 0 {
            self.members.resize_with(std::mem::take(&mut self.resting), Member::default);
        }
    }

    pub(super) fn used(&self) -> Size {
        self.used
    }

    /// Returns `true` if a request would exceed the share of its member, or the bounds even if no other member held
    /// anything.
    pub(super) fn exceeds_share(&self, id: MemberId, bytes: usize) -> bool {
        let mut grown = self.used_by(id);
        grown.add_record(bytes);
        !is_within(grown, self.bounds) || self.fit(id, bytes) == Fit::Share
    }

    /// Returns `true` if a request fits, regardless of waiters.
    pub(super) fn fits(&self, id: MemberId, bytes: usize) -> bool {
        matches!(self.fit(id, bytes), Fit::Reserve | Fit::Common)
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
        let held = self.used_by(id);
        let mut grown = held;
        grown.add_record(bytes);
        let mut used = self.used;
        used.add_record(bytes);
        if !is_within(used, self.bounds) {
            return Fit::Full;
        }
        if self.has_shares && is_within(grown, self.reserve) && !self.is_overcommitted() {
            return Fit::Reserve;
        }
        if !self.has_shares || held == Size::default() {
            return Fit::Common;
        }
        if self.is_overcommitted() {
            let has_share = self.usage(grown) <= self.free_fraction(used, self.bounds);
            return if has_share { Fit::Common } else { Fit::Share };
        }
        let common_held = beyond(grown, self.reserve);
        let mut common_used = self.common_used;
        common_used += common_held;
        common_used -= beyond(held, self.reserve);
        if self.usage(common_held) <= self.free_fraction(common_used, self.common()) {
            Fit::Common
        } else {
            Fit::Share
        }
    }

    /// Serves waiters until the next one does not fit. Returns the wakers of those that were served.
    fn grant(&mut self) -> Vec<Waker> {
        let mut wakers = Vec::new();
        self.blocked = None;
        if self.is_closed {
            return wakers;
        }
        while let Some((id, ticket)) = self.next_to_serve() {
            self.blocked = None;
            let next_ticket = self.next_ticket;
            self.next_ticket += 1;
            let served = self.update(id, |member| {
                member.last_served = next_ticket;
                member.waiters.remove(&ticket)
            });
            if let Some(Waiter { bytes, waker }) = served {
                self.add_used(id, Size { records: 1, bytes });
                self.permits += 1;
                wakers.push(waker);
            }
        }
        wakers
    }

    fn next_to_serve(&mut self) -> Option<(MemberId, Ticket)> {
        // The set is in the order of usages. Members with more than this usage hold their share.
        let reserve = self.usage(self.reserve);
        let largest = if self.is_overcommitted() {
            self.free_fraction(self.used, self.bounds)
        } else {
            reserve + self.free_fraction(self.common_used, self.common())
        };
        let mut scanned = 0;
        for &member in &self.waiting {
            let WaitingMember { usage, ticket, id, .. } = member;
            let is_last = match self.blocked {
                None => usage > largest,
                // Only requests that fit into a reserve are served before the blocked one.
                Some(_) => usage >= reserve || scanned == MAX_SCANNED,
            };
            scanned += usize::from(self.blocked.is_some());
            if self.has_shares && is_last {
                break;
            }
            match self.fit(id, self.members[id].waiters[&ticket].bytes) {
                Fit::Reserve => return Some((id, ticket)),
                Fit::Common if self.blocked.is_none() => return Some((id, ticket)),
                Fit::Full if self.blocked.is_none() => self.blocked = Some(member),
                Fit::Common | Fit::Share | Fit::Full => {}
            }
        }
        None
    }

    fn add_used(&mut self, id: MemberId, size: Size) {
        self.used += size;
        let (before, after) = self.update(id, |member| {
            let before = member.used;
            member.used += size;
            (before, member.used)
        });
        self.update_common_used(before, after);
    }

    fn subtract_used(&mut self, id: MemberId, size: Size) {
        self.used -= size;
        let (before, after) = self.update(id, |member| {
            let before = member.used;
            member.used -= size;
            (before, member.used)
        });
        self.update_common_used(before, after);
    }

    /// Updates the common space in use after the size of a member has changed.
    fn update_common_used(&mut self, before: Size, after: Size) {
        self.common_used += beyond(after, self.reserve);
        self.common_used -= beyond(before, self.reserve);
    }

    /// Changes a member and keeps its position among the waiting members up to date.
    fn update<T>(&mut self, id: MemberId, change: impl FnOnce(&mut Member) -> T) -> T {
        self.resume();
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
        let Member { used, last_served, waiters } = &self.members[id];
        let (&ticket, _) = waiters.first_key_value()?;
        Some(WaitingMember { usage: self.usage(*used), last_served: *last_served, ticket, id })
    }

    /// Returns the position that a new waiter of a member without waiters would have.
    fn position_of_new_waiter(&self, id: MemberId) -> WaitingMember {
        let last_served = self.members.get(id).map_or(0, |member| member.last_served);
        let usage = self.usage(self.used_by(id));
        WaitingMember { usage, last_served, ticket: self.next_ticket, id }
    }

    fn usage(&self, size: Size) -> Usage {
        let (records, bytes) = self.scale;
        (size.records as f64 * records).max(size.bytes as f64 * bytes) as Usage
    }

    /// Returns the fraction that is free if `used` of `space` is used: the smaller of the fractions of records and bytes.
    fn free_fraction(&self, used: Size, space: Size) -> Usage {
        let (records, bytes) = self.scale;
        let free = beyond(space, used);
        (free.records as f64 * records).min(free.bytes as f64 * bytes) as Usage
    }

    /// Returns `true` if members use more than the common space, so that the reserves of others are not free. This is
    /// possible if they used the space before the reserves were created, and if records were charged beyond the bounds.
    fn is_overcommitted(&self) -> bool {
        !is_within(self.common_used, self.common())
    }
}

/// Returns the part of a size that exceeds a limit, separately for records and bytes.
fn beyond(size: Size, limit: Size) -> Size {
    Size {
        records: size.records.saturating_sub(limit.records),
        bytes: size.bytes.saturating_sub(limit.bytes),
    }
}

fn is_within(size: Size, limit: Size) -> bool {
    size.records <= limit.records && size.bytes <= limit.bytes
}

#[cfg(test)]
mod tests;
