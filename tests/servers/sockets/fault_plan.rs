//! What a proxy is told to do, and what it has done.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::fault::Fault;

/// One fault for each request, or none, and counts.
pub struct Orders {
    /// Where requests go.
    pub server: SocketAddr,
    plan: Mutex<Plan>,
    done: Done,
}

#[derive(Default)]
struct Plan {
    next: VecDeque<Option<Fault>>,
    then: Option<Fault>,
}

#[derive(Default)]
struct Done {
    served: AtomicUsize,
    faults: AtomicUsize,
    not_http: AtomicUsize,
    /// Records.
    asked: AtomicUsize,
    answered: AtomicUsize,
}

impl Orders {
    pub fn new(server: SocketAddr) -> Self {
        Self { server, plan: Mutex::default(), done: Done::default() }
    }

    /// Serves that many requests, once what was ordered before is done.
    pub fn serve(&self, requests: usize) {
        self.plan.lock().unwrap().next.extend(std::iter::repeat_n(None, requests));
    }

    /// Does this to that many requests, once what was ordered before is done. Then all are served.
    pub fn spoil(&self, requests: usize, fault: &Fault) {
        let faults = std::iter::repeat_n(Some(fault.clone()), requests);
        self.plan.lock().unwrap().next.extend(faults);
    }

    /// Does this to every request until it is told otherwise.
    pub fn spoil_all(&self, fault: &Fault) {
        self.plan.lock().unwrap().then = Some(fault.clone());
    }

    /// Serves every request from now on.
    pub fn serve_all(&self) {
        *self.plan.lock().unwrap() = Plan::default();
    }

    /// What happens to the next request.
    pub fn take(&self) -> Option<Fault> {
        let mut plan = self.plan.lock().unwrap();
        plan.next.pop_front().unwrap_or_else(|| plan.then.clone())
    }

    /// Whether a new connection is to be reset at once, with the request that would have come.
    pub fn takes_reset(&self) -> bool {
        let mut plan = self.plan.lock().unwrap();
        if let Some(next) = plan.next.front() {
            let resets = *next == Some(Fault::Reset);
            if resets {
                plan.next.pop_front();
            }
            return resets;
        }
        plan.then == Some(Fault::Reset)
    }

    /// These records are handed to the server.
    pub fn note_asked(&self, records: usize) {
        self.done.asked.fetch_add(records, Ordering::Relaxed);
    }

    /// The server's answer about these records was passed on whole.
    pub fn note_served(&self, records: usize) {
        self.done.answered.fetch_add(records, Ordering::Relaxed);
        self.done.served.fetch_add(1, Ordering::Relaxed);
    }

    pub fn note_fault(&self) {
        self.done.faults.fetch_add(1, Ordering::Relaxed);
    }

    pub fn note_not_http(&self) {
        self.done.not_http.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests that were served.
    pub fn served(&self) -> usize {
        self.done.served.load(Ordering::Relaxed)
    }

    /// Faults that happened.
    pub fn faults(&self) -> usize {
        self.done.faults.load(Ordering::Relaxed)
    }

    /// Connections on which no HTTP came.
    pub fn not_http(&self) -> usize {
        self.done.not_http.load(Ordering::Relaxed)
    }

    /// Records that were handed to the server and whose answer was not passed on whole, each time
    /// counted.
    pub fn unanswered(&self) -> usize {
        self.done.asked.load(Ordering::Relaxed) - self.done.answered.load(Ordering::Relaxed)
    }
}
