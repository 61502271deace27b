//! Plans the faults that the proxy injects, and counts faults, requests, and records.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::fault::Fault;

pub struct FaultPlan {
    pub server: SocketAddr,
    upcoming: Mutex<Upcoming>,
    counts: Counts,
}

#[derive(Default)]
struct Upcoming {
    next: VecDeque<Option<Fault>>,
    then: Option<Fault>,
}

#[derive(Default)]
struct Counts {
    served_requests: AtomicUsize,
    faults: AtomicUsize,
    not_http: AtomicUsize,
    forwarded_records: AtomicUsize,
    answered_records: AtomicUsize,
}

impl FaultPlan {
    pub fn new(server: SocketAddr) -> Self {
        Self { server, upcoming: Mutex::default(), counts: Counts::default() }
    }

    /// Appends requests without a fault to the plan.
    pub fn serve(&self, requests: usize) {
        self.upcoming.lock().unwrap().next.extend(std::iter::repeat_n(None, requests));
    }

    /// Appends requests with this fault to the plan. Requests after the end of the plan have no fault.
    pub fn inject(&self, requests: usize, fault: &Fault) {
        let faults = std::iter::repeat_n(Some(fault.clone()), requests);
        self.upcoming.lock().unwrap().next.extend(faults);
    }

    /// Injects the fault into every request after the end of the plan.
    pub fn inject_all(&self, fault: &Fault) {
        self.upcoming.lock().unwrap().then = Some(fault.clone());
    }

    pub fn serve_all(&self) {
        *self.upcoming.lock().unwrap() = Upcoming::default();
    }

    pub fn next_fault(&self) -> Option<Fault> {
        let mut upcoming = self.upcoming.lock().unwrap();
        upcoming.next.pop_front().unwrap_or_else(|| upcoming.then.clone())
    }

    /// Takes the next fault if it is a reset, which applies to a new connection before its first request.
    pub fn take_reset(&self) -> bool {
        let mut upcoming = self.upcoming.lock().unwrap();
        if let Some(next) = upcoming.next.front() {
            let is_reset = *next == Some(Fault::Reset);
            if is_reset {
                upcoming.next.pop_front();
            }
            return is_reset;
        }
        upcoming.then == Some(Fault::Reset)
    }

    pub fn record_forwarded(&self, records: usize) {
        self.counts.forwarded_records.fetch_add(records, Ordering::Relaxed);
    }

    /// Counts a request whose response was forwarded completely.
    pub fn record_served(&self, records: usize) {
        self.counts.answered_records.fetch_add(records, Ordering::Relaxed);
        self.counts.served_requests.fetch_add(1, Ordering::Relaxed);
    }

    pub fn record_fault(&self) {
        self.counts.faults.fetch_add(1, Ordering::Relaxed);
    }

    pub fn record_not_http(&self) {
        self.counts.not_http.fetch_add(1, Ordering::Relaxed);
    }

    pub fn served(&self) -> usize {
        self.counts.served_requests.load(Ordering::Relaxed)
    }

    pub fn faults(&self) -> usize {
        self.counts.faults.load(Ordering::Relaxed)
    }

    /// Returns the number of connections that did not use HTTP.
    pub fn not_http(&self) -> usize {
        self.counts.not_http.load(Ordering::Relaxed)
    }

    /// Returns the number of forwarded records without a complete response. A record counts each time it is forwarded.
    pub fn unanswered(&self) -> usize {
        let counts = &self.counts;
        counts.forwarded_records.load(Ordering::Relaxed)
            - counts.answered_records.load(Ordering::Relaxed)
    }
}
