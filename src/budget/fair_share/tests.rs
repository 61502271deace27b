use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use fastrand::Rng;

use super::*;

const BOUNDS: Size = Size { records: 100, bytes: 1_000 };

impl FairShare {
    fn check(&self) {
        let mut used = Size::default();
        let mut common_used = Size::default();
        let mut waiting = BTreeSet::new();
        for (id, member) in self.members.iter().enumerate() {
            used += member.used;
            common_used += beyond(member.used, self.reserve);
            waiting.extend(self.key(id));
        }
        assert_eq!((used, &waiting), (self.used, &self.waiting));
        assert_eq!(common_used, self.common_used);
        assert!(used.records <= self.bounds.records && used.bytes <= self.bounds.bytes);
    }

    /// Acquires records of one byte for a member until it is rejected. Returns the number of records.
    fn fill(&mut self, id: MemberId) -> usize {
        let mut records = 0;
        while self.try_acquire(id, 1).is_ok() {
            records += 1;
        }
        records
    }

    fn wait(&mut self, id: MemberId, bytes: usize) -> Ticket {
        assert!(self.try_acquire(id, bytes).is_err());
        self.enqueue(id, bytes, Waker::noop().clone()).0
    }

    fn is_granted(&mut self, id: MemberId, ticket: Ticket) -> bool {
        self.poll(id, ticket, Waker::noop()).0 == Waiting::Granted
    }

    fn release_one(&mut self, id: MemberId, bytes: usize) {
        for waker in self.release([(id, Size { records: 1, bytes })]) {
            waker.wake();
        }
    }
}

fn shares(members: usize) -> FairShare {
    let mut shares = FairShare::new(BOUNDS, 1);
    for id in 0..members {
        assert_eq!(shares.add().0, id);
    }
    shares
}

#[test]
fn stuck_members_leave_space_to_others() {
    let mut shares = shares(5);
    // The reserve is 6, and the common space 52.
    assert_eq!([0, 1, 2, 3].map(|id| shares.fill(id)), [6 + 26, 6 + 13, 6 + 6, 6 + 3]);
    assert_eq!(shares.fill(4), 6 + 2);
    shares.check();
}

/// A router adds a member when a stream is opened, which can be after others have stopped.
#[test]
fn stuck_members_leave_reserves_to_later_ones() {
    let bounds = Size { records: 10_000, bytes: 1 << 20 };
    let mut shares = FairShare::new(bounds, MIN_RESERVES);
    let fills: Vec<_> = (0..16).map(|id| (shares.add().0 == id).then(|| shares.fill(id))).collect();
    assert!(fills.iter().all(|fill| fill.is_some_and(|records| records >= 312)), "{fills:?}");
    shares.check();
}

/// More members make the reserves smaller, so that waiters fit into the common space.
#[test]
fn added_member_grants_waiters() {
    let mut shares = FairShare::new(Size { records: 256, bytes: 1 }, 1);
    for _ in 0..64 {
        shares.add();
    }
    let tickets: Vec<_> = (0..20)
        .map(|id| {
            while shares.try_acquire(id, 0).is_ok() {}
            shares.wait(id, 0)
        })
        .collect();
    let (added, woken) = shares.add();
    let granted = (0..20).filter(|&id| shares.is_granted(id, tickets[id])).count();
    assert!(granted > 0 && granted == woken.len(), "{granted} granted, {} woken", woken.len());
    assert_eq!(shares.try_acquire(added, 0), Ok(()));
    shares.check();
}

#[test]
fn equal_members_use_most_of_the_bounds() {
    let mut shares = shares(16);
    for _ in 0..100 {
        for id in 0..16 {
            let _ = shares.try_acquire(id, 1);
        }
    }
    assert!(shares.used().records >= 80, "{:?}", shares.used());
    shares.check();
}

#[test]
fn single_member_without_shares_uses_everything() {
    let mut shares = shares(1);
    let _ = shares.set_members(0, false);
    assert_eq!(shares.fill(0), 100);
    shares.check();
}

/// Before there are shares, one member can use everything.
#[test]
fn used_reserves_are_not_granted() {
    let mut shares = shares(4);
    let _ = shares.set_members(0, false);
    assert_eq!(shares.fill(0), 100);
    let _ = shares.set_members(0, true);
    assert_eq!(shares.try_acquire(1, 1), Err(AcquireError::Full));
    for _ in 0..20 {
        shares.release_one(0, 1);
    }
    assert_eq!((shares.fill(1), shares.fill(2)), (10, 5));
    shares.check();
}

#[test]
fn usage_is_larger_fraction_of_records_and_bytes() {
    let mut shares = shares(2);
    // The reserve is 250 bytes, and the common space 500.
    for _ in 0..5 {
        shares.try_acquire(0, 100).unwrap();
    }
    assert_eq!(shares.try_acquire(0, 100), Err(AcquireError::Share));
    assert_eq!(shares.try_acquire(1, 250), Ok(()));
}

#[test]
fn empty_member_gets_whatever_is_free() {
    let mut shares = shares(3);
    shares.try_acquire(0, 500).unwrap();
    shares.try_acquire(1, 250).unwrap();
    let ticket = shares.wait(2, 400);
    shares.release_one(0, 500);
    assert!(shares.is_granted(2, ticket));
    shares.check();
}

#[test]
fn waiters_of_member_are_served_in_order() {
    let mut shares = shares(1);
    shares.fill(0);
    let first = shares.wait(0, 1);
    let second = shares.wait(0, 1);
    shares.release_one(0, 1);
    assert!(shares.is_granted(0, first) && !shares.is_granted(0, second));
    shares.release_one(0, 1);
    assert!(shares.is_granted(0, second));
}

#[test]
fn smallest_member_is_served_first() {
    let mut shares = shares(3);
    shares.fill(0);
    shares.fill(1);
    let large = shares.wait(0, 1);
    let small = shares.wait(1, 1);
    shares.release_one(1, 1);
    assert!(shares.is_granted(1, small) && !shares.is_granted(0, large));
    shares.check();
}

#[test]
fn large_waiter_is_not_overtaken() {
    let mut shares = shares(4);
    // The reserve is 125 bytes.
    shares.try_acquire(0, 200).unwrap();
    shares.try_acquire(1, 500).unwrap();
    let large = shares.wait(2, 400);
    assert_eq!(shares.try_acquire(3, 150), Err(AcquireError::Share), "delays the large record");
    assert_eq!(shares.try_acquire(3, 100), Ok(()), "fits into the reserve");
    shares.release_one(0, 200);
    assert!(shares.is_granted(2, large));
    shares.check();
}

#[test]
fn reserve_serves_waiter_behind_large_one() {
    let mut shares = shares(4);
    shares.try_acquire(0, 500).unwrap();
    shares.try_acquire(3, 100).unwrap();
    let small = shares.wait(3, 100);
    let large = shares.wait(2, 550);
    shares.release_one(3, 100);
    assert!(shares.is_granted(3, small) && !shares.is_granted(2, large));
    shares.check();
}

#[test]
fn cancelled_waiter_loses_only_its_place() {
    let mut shares = shares(1);
    shares.fill(0);
    let first = shares.wait(0, 1);
    let second = shares.wait(0, 1);
    assert!(shares.cancel(0, first, 1).0.is_some(), "the waker is returned");
    shares.release_one(0, 1);
    assert!(shares.is_granted(0, second));
    let used = shares.used();
    shares.release_permit(0, 1);
    assert_eq!(shares.used().records, used.records - 1);
}

#[test]
fn removed_member_releases_its_usage() {
    let mut shares = shares(2);
    shares.fill(0);
    shares.fill(1);
    let ticket = shares.wait(1, 1);
    shares.remove(0);
    assert!(shares.is_granted(1, ticket));
    assert_eq!(shares.add().0, 0, "the number is reused");
    assert_eq!(shares.used_by(0), Size::default());
    shares.check();
}

#[test]
fn close_wakes_and_rejects_waiters() {
    let mut shares = shares(1);
    shares.fill(0);
    let ticket = shares.wait(0, 1);
    assert_eq!(shares.close().len(), 1);
    assert_eq!(shares.poll(0, ticket, Waker::noop()).0, Waiting::Closed);
    assert_eq!(shares.try_acquire(0, 1), Err(AcquireError::Closed));
    shares.check();
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

struct RandomWaiter {
    id: MemberId,
    ticket: Ticket,
    bytes: usize,
    wakes: Arc<Wakes>,
}

/// Random operations of members of which some never release anything. Every other waiter is served.
#[test]
fn random_operations_starve_no_waiter() {
    const MEMBERS: usize = 12;
    for seed in 0..50 {
        let mut rng = Rng::with_seed(seed);
        let mut shares = shares(MEMBERS);
        let stuck = rng.usize(..4);
        let mut held: Vec<Vec<usize>> = vec![Vec::new(); MEMBERS];
        let mut waiters: Vec<RandomWaiter> = Vec::new();
        for step in 0..3_000 {
            let id = rng.usize(..MEMBERS);
            let bytes = rng.usize(1..60);
            match rng.u8(..4) {
                0 | 1 => match shares.try_acquire(id, bytes) {
                    Ok(()) => {
                        let _ = shares.commit((id, bytes), id, bytes);
                        held[id].push(bytes);
                    }
                    Err(_) if waiters.len() < 30 => {
                        let wakes = Arc::new(Wakes::default());
                        let (ticket, woken) = shares.enqueue(id, bytes, wakes.clone().into());
                        wake(woken);
                        waiters.push(RandomWaiter { id, ticket, bytes, wakes });
                    }
                    Err(_) => {}
                },
                2 if id >= stuck && !held[id].is_empty() => {
                    let n = rng.usize(..held[id].len());
                    let bytes = held[id].swap_remove(n);
                    shares.release_one(id, bytes);
                }
                3 if !waiters.is_empty() && rng.u8(..8) == 0 => {
                    let RandomWaiter { id, ticket, bytes, .. } =
                        waiters.swap_remove(rng.usize(..waiters.len()));
                    wake(shares.cancel(id, ticket, bytes).1);
                }
                3 if held[id].is_empty() && !waiters.iter().any(|waiter| waiter.id == id) => {
                    wake(shares.remove(id));
                    let (added, woken) = shares.add();
                    wake(woken);
                    assert_eq!(added, id);
                    if rng.bool() {
                        // More members than ever before change the reserves.
                        let (more, woken) = shares.add();
                        wake(woken);
                        wake(shares.remove(more));
                    }
                }
                _ => {}
            }
            collect(&mut shares, &mut waiters, &mut held);
            shares.check();
            assert_eq!(shares.permits(), 0, "seed {seed}, step {step}");
        }
        // Members that release their records serve all their waiters, whatever the stuck members hold.
        for _ in 0..1_000 {
            for (id, held) in held.iter_mut().enumerate().skip(stuck) {
                if let Some(bytes) = held.pop() {
                    shares.release_one(id, bytes);
                }
            }
            collect(&mut shares, &mut waiters, &mut held);
        }
        let left: Vec<_> = waiters.iter().map(|waiter| waiter.id).collect();
        assert!(left.iter().all(|id| *id < stuck), "seed {seed}: waiters of {left:?} starve");
    }
}

fn wake(wakers: Vec<Waker>) {
    for waker in wakers {
        waker.wake();
    }
}

/// Commits the granted requests, which must have been woken.
fn collect(shares: &mut FairShare, waiters: &mut Vec<RandomWaiter>, held: &mut [Vec<usize>]) {
    waiters.retain(|waiter| {
        let RandomWaiter { id, ticket, bytes, ref wakes } = *waiter;
        let waker = wakes.clone().into();
        let is_granted = shares.poll(id, ticket, &waker).0 == Waiting::Granted;
        assert_eq!(is_granted, wakes.0.load(Ordering::Relaxed) == 1);
        if is_granted {
            let _ = shares.commit((id, bytes), id, bytes);
            held[id].push(bytes);
        }
        !is_granted
    });
}

#[test]
fn resting_members_keep_their_reserves() {
    let mut shares = FairShare::new(Size { records: 100, bytes: 100 }, 1);
    assert!(shares.set_members(4, true).is_empty());
    let filled = shares.fill(0);
    for _ in 0..filled {
        assert!(shares.release_permit(0, 1).is_empty());
    }
    for _ in 0..2 {
        shares.rest();
        assert!(shares.members.is_empty());
    }
    assert_eq!(shares.fill(0), filled);
    shares.rest();
    assert_eq!(shares.members.len(), 4, "a member holds something");
    shares.check();
}
