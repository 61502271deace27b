//! What goes wrong, and when.

mod gate;
mod layer;
mod outcomes;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use tokio::time::sleep;

pub use self::gate::{Death, Gate};
pub use self::layer::Faulty;
pub use self::outcomes::{Outcomes, Watched};

/// The part of the requests that a fault hits while it lasts.
const SHARE: f64 = 0.5;
/// Longer than a request may take, so that one can be written after it was given up.
const LONGEST_MILLIS: u64 = 3_000;

/// One thing that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Requests are answered with an error and not written.
    Refused,
    /// Requests are written and answered with an error.
    WrittenAndRefused,
    /// Requests get lost on their way, so that they time out.
    LostRequest,
    /// Requests are written, and their answers get lost.
    LostAnswer,
    /// Requests are held up.
    Delay,
    /// Some entries of each request fail with InternalFailure.
    FailedEntries,
    /// The results of some entries that were written are missing in the answer.
    LostResults,
    /// All connections are reset, at once.
    Reset,
    /// Every connection is reset as soon as it is there.
    Unreachable,
    /// No byte moves, in either direction.
    Standstill,
    /// The open connections carry nothing more, and stay open.
    DeadConnections,
    /// The open connections carry requests, but no answers.
    DeafConnections,
}

impl Fault {
    pub const ALL: [(Self, &str); 12] = [
        (Self::Refused, "requests refused"),
        (Self::WrittenAndRefused, "requests written and refused"),
        (Self::LostRequest, "requests lost"),
        (Self::LostAnswer, "answers lost"),
        (Self::Delay, "requests held up"),
        (Self::FailedEntries, "entries failed"),
        (Self::LostResults, "results lost"),
        (Self::Reset, "connections reset"),
        (Self::Unreachable, "connections refused"),
        (Self::Standstill, "standstill"),
        (Self::DeadConnections, "connections dead"),
        (Self::DeafConnections, "connections without answers"),
    ];
}

/// What goes wrong at present, and what has.
#[derive(Debug)]
pub struct Faults {
    now: Mutex<(Option<Fault>, Rng)>,
    hits: [AtomicU64; Fault::ALL.len()],
}

/// How often each fault has hit a request, an entry, a connection, or the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hits([u64; Fault::ALL.len()]);

impl Faults {
    pub fn new(seed: u64) -> Self {
        Self { now: Mutex::new((None, Rng::with_seed(seed))), hits: Default::default() }
    }

    /// Lets something go wrong every few seconds, each of the faults in turn, in an order that is drawn
    /// again whenever all have been.
    pub async fn run(&self, seed: u64, gate: &Gate) {
        let mut rng = Rng::with_seed(seed);
        let mut deck = Fault::ALL.map(|(fault, _)| fault);
        loop {
            rng.shuffle(&mut deck);
            for fault in deck {
                sleep(Duration::from_millis(rng.u64(1_000..3_000))).await;
                self.begin(fault, gate);
                sleep(Duration::from_millis(rng.u64(500..LONGEST_MILLIS))).await;
                self.end(gate);
            }
        }
    }

    fn begin(&self, fault: Fault, gate: &Gate) {
        self.now().0 = Some(fault);
        match fault {
            Fault::Reset => gate.reset(),
            Fault::Unreachable => gate.shut(),
            Fault::Standstill => {
                self.hit(fault, 1);
                gate.hold();
            }
            Fault::DeadConnections => {
                self.hit(fault, 1);
                gate.kill(Death::Both);
            }
            Fault::DeafConnections => {
                self.hit(fault, 1);
                gate.kill(Death::Answers);
            }
            _ => {}
        }
    }

    /// Everything works again.
    pub fn end(&self, gate: &Gate) {
        let ended = self.now().0.take();
        let broken = gate.open();
        if let Some(fault @ (Fault::Reset | Fault::Unreachable)) = ended {
            self.hit(fault, broken);
        }
    }

    pub fn hits(&self) -> Hits {
        Hits(std::array::from_fn(|place| self.hits[place].load(Ordering::Relaxed)))
    }

    fn hit(&self, fault: Fault, times: u64) {
        self.hits[fault as usize].fetch_add(times, Ordering::Relaxed);
    }

    /// What goes wrong at present, if that was drawn for this request.
    fn draw(&self) -> Option<Fault> {
        let mut now = self.now();
        let (fault, rng) = &mut *now;
        fault.filter(|_| rng.f64() < SHARE)
    }

    fn now(&self) -> MutexGuard<'_, (Option<Fault>, Rng)> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which of so many entries a fault hits.
    fn entries(&self, count: usize) -> Vec<bool> {
        let mut now = self.now();
        (0..count).map(|_| now.1.u8(..10) == 0).collect()
    }
}

impl Hits {
    pub fn since(self, earlier: Self) -> Self {
        Self(std::array::from_fn(|place| self.0[place] - earlier.0[place]))
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
