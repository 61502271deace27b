use std::future::pending;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::future::select;
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

use super::entry::Nanos;
use super::shared::Shared;
use super::streams::Key;

/// Minimum time between two searches for an idle stream while a caller waits for one.
///
/// A stream that has settled its last record is found without this search. The search finds streams whose last handle was
/// dropped.
const MIN_SEARCH_INTERVAL: Duration = Duration::from_millis(10);

/// Minimum time between two searches for each open stream. The searches take about 1 % of the time.
const SEARCH_INTERVAL_PER_STREAM: Duration = Duration::from_micros(10);

/// Signals for the maintenance task, which does not keep the router alive while it waits.
#[derive(Debug)]
pub(super) struct Signals {
    wake: Notify,
    /// Notified when a producer has no more records.
    on_idle: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Maintenance {
    /// Time of the next sweep. `None` while no stream is open.
    sweep_at: Option<Nanos>,
    /// Position of the sweep that is in progress.
    position: Option<Key>,
}

/// Next step of the maintenance task.
enum Next {
    End,
    Now,
    Wait {
        until: Option<Instant>,
        /// Time from which a stream that becomes empty ends the wait.
        listen_from: Option<Instant>,
    },
}

/// Closes idle streams, lets those that stay open release unused memory, and serves waiting callers. Ends when the router
/// was closed or dropped.
pub(super) async fn run(shared: Weak<Shared>, signals: Arc<Signals>) {
    let task = TaskGuard(shared);
    let mut maintenance = Maintenance::default();
    loop {
        let next = match task.0.upgrade() {
            Some(shared) => maintenance.step(&shared),
            None => Next::End,
        };
        match next {
            Next::End => return,
            Next::Now => yield_now().await,
            Next::Wait { until, listen_from } => signals.wait(until, listen_from).await,
        }
    }
}

/// Guard that is dropped when the task ends, also with its runtime. No waiting caller is served afterwards.
struct TaskGuard(Weak<Shared>);

impl Drop for TaskGuard {
    fn drop(&mut self) {
        if let Some(shared) = self.0.upgrade() {
            shared.abandon();
        }
    }
}

impl Maintenance {
    fn step(&mut self, shared: &Shared) -> Next {
        let clock = shared.clock();
        shared.change(|streams, now, effects| {
            if streams.is_closed() {
                return Next::End;
            }
            if streams.len() == 0 && !streams.must_serve() {
                *self = Self::default();
                return Next::Wait { until: None, listen_from: None };
            }
            let interval = streams.sweep_interval();
            let sweep_at = *self.sweep_at.get_or_insert(now + interval);
            if let Some(from) = self.position.or_else(|| (now >= sweep_at).then_some((0, 0))) {
                self.position = streams.sweep(from, now, effects);
                self.sweep_at = Some(now + interval);
            }
            streams.serve(now, effects);
            if self.position.is_some() {
                return Next::Now;
            }
            let mut until = clock.instant(self.sweep_at.unwrap_or(now));
            let mut listen_from = None;
            if streams.must_serve() {
                let open = u32::try_from(streams.len()).unwrap_or(u32::MAX);
                let now = clock.instant(now);
                until = until.min(now + MIN_SEARCH_INTERVAL.max(SEARCH_INTERVAL_PER_STREAM * open));
                listen_from = Some(clock.instant(streams.next_search_at()));
            }
            Next::Wait { until: Some(until), listen_from }
        })
    }
}

impl Signals {
    pub(super) fn new(on_idle: Arc<Notify>) -> Self {
        Self { wake: Notify::new(), on_idle }
    }

    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    async fn wait(&self, until: Option<Instant>, listen_from: Option<Instant>) {
        let idle_or_until = async {
            if let Some(from) = listen_from {
                sleep_until(from).await;
            }
            let is_idle = async {
                match listen_from {
                    Some(_) => self.on_idle.notified().await,
                    None => pending().await,
                }
            };
            let is_over = async {
                match until {
                    Some(until) => sleep_until(until).await,
                    None => pending().await,
                }
            };
            select(pin!(is_idle), pin!(is_over)).await;
        };
        select(pin!(self.wake.notified()), pin!(idle_or_until)).await;
    }
}
