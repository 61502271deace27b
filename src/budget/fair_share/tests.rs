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
        self.enqueue(id, bytes, Waker::noop().clone())
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
    let mut shares = FairShare::new(BOUNDS);
    for id in 0..members {
        assert_eq!(shares.add(), id);
    }
    shares
}

#[test]
fn stuck_members_leave_space_to_others() {
    let mut shares = shares(5);
    // The reserve is 6, and the common space 70.
    assert_eq!([0, 1, 2, 3].map(|id| shares.fill(id)), [6 + 14, 6 + 11, 6 + 9, 6 + 7]);
    assert_eq!(shares.fill(4), 6 + 5);
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
    let _ = shares.set_shares(false);
    assert_eq!(shares.fill(0), 100);
    shares.check();
}

#[test]
fn part_is_larger_fraction_of_records_and_bytes() {
    let mut shares = shares(2);
    // The reserve is 250 bytes, and the common space 500.
    for _ in 0..3 {
        shares.try_acquire(0, 100).unwrap();
    }
    assert_eq!(shares.try_acquire(0, 100), Err(AcquireError::Share));
    assert_eq!(shares.try_acquire(1, 250), Ok(()));
}

#[test]
fn empty_member_gets_whatever_is_free() {
    let mut shares = shares(3);
    shares.try_acquire(0, 500).unwrap();
    shares.try_acquire(1, 375).unwrap();
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
    // The reserve is 125 bytes, and the common space 500.
    shares.try_acquire(0, 200).unwrap();
    shares.try_acquire(1, 300).unwrap();
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
    let large = shares.wait(2, 400);
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
fn removed_member_releases_its_part() {
    let mut shares = shares(2);
    shares.fill(0);
    shares.fill(1);
    let ticket = shares.wait(1, 1);
    shares.remove(0);
    assert!(shares.is_granted(1, ticket));
    assert_eq!(shares.add(), 0, "the number is reused");
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
                        let ticket = shares.enqueue(id, bytes, wakes.clone().into());
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
                    for waker in shares.cancel(id, ticket, bytes).1 {
                        waker.wake();
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
            for id in stuck..MEMBERS {
                if let Some(bytes) = held[id].pop() {
                    shares.release_one(id, bytes);
                }
            }
            collect(&mut shares, &mut waiters, &mut held);
        }
        let left: Vec<_> = waiters.iter().map(|waiter| waiter.id).collect();
        assert!(left.iter().all(|id| *id < stuck), "seed {seed}: waiters of {left:?} starve");
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
