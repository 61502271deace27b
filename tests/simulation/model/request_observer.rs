//! A service that checks each request, and records each request and each response in the ledger.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use kinesis_sink::aggregate::{Member, deaggregate};
use kinesis_sink::limits::Limits;
use kinesis_sink::service::{
    Classify, DefaultClassify, Entry, EntryClass, EntryError, Placement, PutRecordsError,
    PutRecordsErrorKind, PutRecordsRequest, PutRecordsResponse,
};
use tower::{BoxError, Service};

use super::faulty_service::FaultyService;
use super::ledger::{Ledger, Location, SharedLedger};
use super::records::number_of;
use super::scenario::Settings;

#[derive(Clone)]
pub struct RequestObserver {
    service: FaultyService,
    ledger: SharedLedger,
    limits: Limits,
}

impl RequestObserver {
    pub fn new(service: FaultyService, ledger: &SharedLedger, settings: &Settings) -> Self {
        Self { service, ledger: ledger.clone(), limits: settings.limits }
    }

    fn check_limits(&self, request: &PutRecordsRequest) {
        let (entries, bytes) = (request.entries().len(), request.bytes());
        let fits = (1..=self.limits.request_entries()).contains(&entries)
            && (bytes <= self.limits.request_bytes() || entries == 1)
            && request.entries().iter().all(|entry| entry.size() <= self.limits.record_bytes());
        if !fits {
            let limits = self.limits;
            let text = || format!("a request of {entries} entries and {bytes} bytes: {limits:?}");
            self.ledger.lock().violation(text);
        }
    }
}

type Outcome = Result<PutRecordsResponse, BoxError>;

impl Service<PutRecordsRequest> for RequestObserver {
    type Response = PutRecordsResponse;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Outcome> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, request: PutRecordsRequest) -> Self::Future {
        self.check_limits(&request);
        // If the call panics, `in_flight` is dropped and records an unknown outcome.
        let in_flight = InFlight::begin(&request, &self.ledger);
        let call = self.service.call(request);
        Box::pin(async move {
            let outcome = call.await;
            in_flight.end(&outcome);
            outcome
        })
    }
}

/// A request in flight. If this value is dropped before the response, the outcome of the request is unknown.
struct InFlight {
    entries: Vec<EntryContent>,
    ledger: SharedLedger,
    is_complete: bool,
}

struct EntryContent {
    members: Vec<Member>,
    numbers: Vec<u64>,
}

impl EntryContent {
    fn of(entry: &Entry) -> Self {
        let members: Vec<_> = deaggregate(entry.data()).collect();
        let key = |member: &Member| member.partition_key().or(entry.partition_key()).cloned();
        let number = |member: &Member| number_of(member.data(), key(member).as_ref());
        let numbers = members.iter().map(number).collect();
        Self { members, numbers }
    }

    /// Returns `true` if a member does not belong to the shard, so that consumers discard the aggregate.
    fn is_misplaced(&self, shard_id: &str, ledger: &Ledger) -> bool {
        let packed = self.members.iter().all(|member| member.sub_sequence_number().is_some());
        packed && !ledger.ranges.contain(shard_id, &self.members)
    }
}

impl InFlight {
    fn begin(request: &PutRecordsRequest, ledger: &SharedLedger) -> Self {
        let entries: Vec<_> = request.entries().iter().map(EntryContent::of).collect();
        let mut locked = ledger.lock();
        for number in entries.iter().flat_map(|entry| &entry.numbers) {
            note_sent(&mut locked, *number);
        }
        drop(locked);
        Self { entries, ledger: ledger.clone(), is_complete: false }
    }

    fn end(mut self, outcome: &Outcome) {
        self.is_complete = true;
        let mut ledger = self.ledger.lock();
        let numbers = || self.entries.iter().flat_map(|entry| &entry.numbers);
        for number in numbers() {
            ledger.state_mut(*number).in_flight = false;
        }
        match outcome {
            Ok(response) if response.results().len() == self.entries.len() => {
                for (entry, result) in self.entries.iter().zip(response.results()) {
                    note_result(&mut ledger, entry, result);
                }
            }
            Err(error) => {
                let class = DefaultClassify.classify_error(&**error);
                let is_refused = is_refused(error);
                let alone = numbers().nth(1).is_none();
                for number in numbers() {
                    let state = ledger.state_mut(*number);
                    state.unknown_outcomes += u32::from(!is_refused);
                    state.note_failure(class, alone);
                }
            }
            Ok(_) => {
                for number in numbers() {
                    ledger.state_mut(*number).note_unknown();
                }
            }
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.is_complete {
            return;
        }
        let mut ledger = self.ledger.lock();
        ledger.coverage.count("a dropped request", 1);
        for number in self.entries.iter().flat_map(|entry| &entry.numbers) {
            let state = ledger.state_mut(*number);
            state.in_flight = false;
            state.note_unknown();
        }
    }
}

fn note_sent(ledger: &mut Ledger, number: u64) {
    let may_resend_delivered = ledger.may_resend_delivered;
    let state = ledger.state_mut(number);
    let twice = std::mem::replace(&mut state.in_flight, true);
    state.attempts += 1;
    let attempts = state.attempts;
    let accepted = state.accepted;
    let returned = state.returned;
    let delivered = !state.locations.is_empty() && !may_resend_delivered;
    let exceeds_attempts = ledger.max_attempts.is_some_and(|most| attempts > most);
    let violation = match () {
        () if !accepted => "before it was accepted",
        () if twice => "while it is in another request",
        () if returned => "after it was returned",
        () if delivered => "after it was delivered",
        () if exceeds_attempts => "more often than the attempt limit allows",
        () => return,
    };
    ledger.violation(|| format!("{number} is sent {violation}"));
}

fn note_result(ledger: &mut Ledger, entry: &EntryContent, result: &Result<Placement, EntryError>) {
    let placement = match result {
        Ok(placement) if entry.is_misplaced(placement.shard_id(), ledger) => {
            ledger.coverage.count("a misplaced aggregate", 1);
            for number in &entry.numbers {
                ledger.state_mut(*number).note_unknown();
            }
            return;
        }
        Ok(placement) => placement,
        Err(error) if NOT_WRITTEN_CODES.contains(&error.code()) => return,
        Err(error) => {
            let is_unknown = DefaultClassify.classify_entry(error) == EntryClass::OutcomeUnknown;
            for number in &entry.numbers {
                let state = ledger.state_mut(*number);
                state.unknown_outcomes += 1;
                state.may_have_been_written |= is_unknown;
            }
            return;
        }
    };
    for (number, member) in entry.numbers.iter().zip(&entry.members) {
        let location = Location {
            shard_id: placement.shard_id().to_owned(),
            sequence_number: placement.sequence_number().to_owned(),
            sub_sequence_number: member.sub_sequence_number(),
        };
        ledger.deliver(*number, location);
    }
}

const NOT_WRITTEN_CODES: [&str; 2] = ["ProvisionedThroughputExceededException", "InternalFailure"];

/// Returns `true` if the service rejected the whole request, so that no entry was written.
fn is_refused(error: &BoxError) -> bool {
    let error = error.downcast_ref::<PutRecordsError>();
    error
        .is_some_and(|error| error.kind() == PutRecordsErrorKind::Service && error.code().is_some())
}
