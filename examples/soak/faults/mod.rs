mod gate;
mod injector;
mod outcomes;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use tokio::time::sleep;

pub use self::gate::{Death, Gate};
pub use self::injector::FaultInjector;
pub use self::outcomes::{OutcomeRecorder, Outcomes};

/// Fraction of the requests that are affected during a fault.
const AFFECTED_FRACTION: f64 = 0.5;
/// Maximum duration of a fault. It exceeds the request timeout, so that a request can be written after its timeout.
const MAX_FAULT_MILLIS: u64 = 3_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Rejected,
    WrittenAndRejected,
    LostRequest,
    LostAnswer,
    Delay,
    FailedEntries,
    /// Some entries are written, but their results are replaced by errors.
    LostResults,
    Reset,
    /// Open and new connections are reset.
    Unreachable,
    Stall,
    /// Open connections stay open but forward no more data.
    DeadConnections,
    UnansweredConnections,
}

impl Fault {
    pub const ALL: [(Self, &str); 12] = [
        (Self::Rejected, "requests rejected"),
        (Self::WrittenAndRejected, "requests written and rejected"),
        (Self::LostRequest, "requests lost"),
        (Self::LostAnswer, "answers lost"),
        (Self::Delay, "requests delayed"),
        (Self::FailedEntries, "entries failed"),
        (Self::LostResults, "results lost"),
        (Self::Reset, "connections reset"),
        (Self::Unreachable, "connections refused"),
        (Self::Stall, "stalls"),
        (Self::DeadConnections, "connections dead"),
        (Self::UnansweredConnections, "connections without answers"),
    ];
}

#[derive(Debug)]
pub struct Faults {
    current: Mutex<(Option<Fault>, Rng)>,
    hits: [AtomicU64; Fault::ALL.len()],
}

/// Number of requests, entries, connections, or servers affected by each fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hits([u64; Fault::ALL.len()]);

impl Faults {
    pub fn new(seed: u64) -> Self {
        Self { current: Mutex::new((None, Rng::with_seed(seed))), hits: Default::default() }
    }

    /// Starts a fault every few seconds, in random order. A fault is repeated after all other faults have occurred.
    pub async fn run(&self, seed: u64, gate: &Gate) {
        let mut rng = Rng::with_seed(seed);
        let mut faults = Fault::ALL.map(|(fault, _)| fault);
        loop {
            rng.shuffle(&mut faults);
            for fault in faults {
                sleep(Duration::from_millis(rng.u64(1_000..3_000))).await;
                self.begin(fault, gate);
                sleep(Duration::from_millis(rng.u64(500..MAX_FAULT_MILLIS))).await;
                self.end(gate);
            }
        }
    }

    fn begin(&self, fault: Fault, gate: &Gate) {
        self.current().0 = Some(fault);
        match fault {
            Fault::Reset => gate.reset(),
            Fault::Unreachable => gate.shut(),
            Fault::Stall => {
                self.hit(fault, 1);
                gate.stall();
            }
            Fault::DeadConnections => {
                self.hit(fault, 1);
                gate.kill(Death::Both);
            }
            Fault::UnansweredConnections => {
                self.hit(fault, 1);
                gate.kill(Death::Answers);
            }
            _ => {}
        }
    }

    pub fn end(&self, gate: &Gate) {
        let ended = self.current().0.take();
        let reset_connections = gate.open();
        if let Some(fault @ (Fault::Reset | Fault::Unreachable)) = ended {
            self.hit(fault, reset_connections);
        }
    }

    pub fn hits(&self) -> Hits {
        Hits(std::array::from_fn(|index| self.hits[index].load(Ordering::Relaxed)))
    }

    fn hit(&self, fault: Fault, count: u64) {
        self.hits[fault as usize].fetch_add(count, Ordering::Relaxed);
    }

    /// Returns the current fault if the next request is affected by it.
    fn draw(&self) -> Option<Fault> {
        let mut current = self.current();
        let (fault, rng) = &mut *current;
        fault.filter(|_| rng.f64() < AFFECTED_FRACTION)
    }

    fn current(&self) -> MutexGuard<'_, (Option<Fault>, Rng)> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn draw_entries(&self, count: usize) -> Vec<bool> {
        let (_, rng) = &mut *self.current();
        (0..count).map(|_| rng.u8(..10) == 0).collect()
    }
}

impl Hits {
    pub fn since(self, earlier: Self) -> Self {
        Self(std::array::from_fn(|index| self.0[index] - earlier.0[index]))
    }
}

impl fmt::Display for Hits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hits = Fault::ALL.iter().zip(self.0).filter(|(_, count)| *count > 0);
        let hits: Vec<_> = hits.map(|((_, name), count)| format!("{count} {name}")).collect();
        f.write_str(if hits.is_empty() { "none" } else { "" })?;
        f.write_str(&hits.join(", "))
    }
}
