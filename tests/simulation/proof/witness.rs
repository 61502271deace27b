//! A layer that sees each request and each answer, and holds the sink to what it was told.

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

use super::breaking::Breaking;
use super::drawn::Settings;
use super::ledger::{Ledger, Place, Shared};
use super::records::number_of;

#[derive(Clone)]
pub struct Witness {
    service: Breaking,
    ledger: Shared,
    limits: Limits,
}

impl Witness {
    pub fn new(service: Breaking, ledger: &Shared, settings: &Settings) -> Self {
        Self { service, ledger: ledger.clone(), limits: settings.limits }
    }

    fn check_limits(&self, request: &PutRecordsRequest) {
        let (entries, bytes) = (request.entries().len(), request.bytes());
        let fits = (1..=self.limits.request_entries()).contains(&entries)
            && (bytes <= self.limits.request_bytes() || entries == 1)
            && request.entries().iter().all(|entry| entry.size() <= self.limits.record_bytes());
        if !fits {
            let limits = self.limits;
            let told = || format!("a request of {entries} entries and {bytes} bytes: {limits:?}");
            self.ledger.lock().broken(told);
        }
    }
}

type Answer = Result<PutRecordsResponse, BoxError>;

impl Service<PutRecordsRequest> for Witness {
    type Response = PutRecordsResponse;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, request: PutRecordsRequest) -> Self::Future {
        self.check_limits(&request);
        // Should the call panic, nothing was sent; but who called cannot know.
        let flight = Flight::begin(&request, &self.ledger);
        let call = self.service.call(request);
        Box::pin(async move {
            let answer = call.await;
            flight.end(&answer);
            answer
        })
    }
}

/// A request on its way. Dropped without an answer, nobody knows what came of it.
struct Flight {
    entries: Vec<Contents>,
    ledger: Shared,
    is_answered: bool,
}

/// What one entry holds.
struct Contents {
    members: Vec<Member>,
    numbers: Vec<u64>,
}

impl Contents {
    fn of(entry: &Entry) -> Self {
        let members: Vec<_> = deaggregate(entry.data()).collect();
        let key = |member: &Member| member.partition_key().or(entry.partition_key()).cloned();
        let number = |member: &Member| number_of(member.data(), key(member).as_ref());
        let numbers = members.iter().map(number).collect();
        Self { members, numbers }
    }

    /// Whether consumers throw it away, because not all of it belongs into this shard.
    fn is_misplaced(&self, shard_id: &str, ledger: &Ledger) -> bool {
        let packed = self.members.iter().all(|member| member.sub_sequence_number().is_some());
        packed && !ledger.ranges.contain(shard_id, &self.members)
    }
}

impl Flight {
    fn begin(request: &PutRecordsRequest, ledger: &Shared) -> Self {
        let entries: Vec<_> = request.entries().iter().map(Contents::of).collect();
        let mut noted = ledger.lock();
        for number in entries.iter().flat_map(|entry| &entry.numbers) {
            note_sent(&mut noted, *number);
        }
        drop(noted);
        Self { entries, ledger: ledger.clone(), is_answered: false }
    }

    fn end(mut self, answer: &Answer) {
        self.is_answered = true;
        let mut ledger = self.ledger.lock();
        let numbers = || self.entries.iter().flat_map(|entry| &entry.numbers);
        numbers().for_each(|number| ledger.fate_mut(*number).in_flight = false);
        match answer {
            Ok(answer) if answer.results().len() == self.entries.len() => {
                for (entry, result) in self.entries.iter().zip(answer.results()) {
                    note_result(&mut ledger, entry, result);
                }
            }
            Err(error) => {
                let (class, is_refused) =
                    (DefaultClassify.classify_error(&**error), is_refused(error));
                let alone = numbers().nth(1).is_none();
                for number in numbers() {
                    let fate = ledger.fate_mut(*number);
                    fate.unknown += u32::from(!is_refused);
                    fate.note_failure(class, alone);
                }
            }
            Ok(_) => numbers().for_each(|number| ledger.fate_mut(*number).note_unknown()),
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if self.is_answered {
            return;
        }
        let mut ledger = self.ledger.lock();
        ledger.seen.note("a request that was dropped", 1);
        for number in self.entries.iter().flat_map(|entry| &entry.numbers) {
            let fate = ledger.fate_mut(*number);
            fate.in_flight = false;
            fate.note_unknown();
        }
    }
}

fn note_sent(ledger: &mut Ledger, number: u64) {
    let may_come_again = ledger.may_come_again;
    let fate = ledger.fate_mut(number);
    let twice = std::mem::replace(&mut fate.in_flight, true);
    fate.attempts += 1;
    let attempts = fate.attempts;
    let (accepted, ended) = (fate.accepted, fate.ended);
    let delivered = !fate.places.is_empty() && !may_come_again;
    let too_often = ledger.max_attempts.is_some_and(|most| attempts > most);
    let wrong = match () {
        () if !accepted => "before it was accepted",
        () if twice => "while it is in another request",
        () if ended => "after it was handed back",
        () if delivered => "after it was delivered",
        () if too_often => "more often than it may be",
        () => return,
    };
    ledger.broken(|| format!("{number} is sent {wrong}"));
}

fn note_result(ledger: &mut Ledger, entry: &Contents, result: &Result<Placement, EntryError>) {
    let place = match result {
        Ok(place) if entry.is_misplaced(place.shard_id(), ledger) => {
            ledger.seen.note("a misplaced aggregate", 1);
            entry.numbers.iter().for_each(|number| ledger.fate_mut(*number).note_unknown());
            return;
        }
        Ok(place) => place,
        Err(error) if PLAIN_CODES.contains(&error.code()) => return,
        Err(error) => {
            let is_doubted = DefaultClassify.classify_entry(error) == EntryClass::OutcomeUnknown;
            for number in &entry.numbers {
                let fate = ledger.fate_mut(*number);
                fate.unknown += 1;
                fate.doubted |= is_doubted;
            }
            return;
        }
    };
    for (number, member) in entry.numbers.iter().zip(&entry.members) {
        let place = Place {
            shard_id: place.shard_id().to_owned(),
            sequence_number: place.sequence_number().to_owned(),
            sub_sequence_number: member.sub_sequence_number(),
        };
        ledger.deliver(*number, place);
    }
}

/// What the stream says of entries that it has not written.
const PLAIN_CODES: [&str; 2] = ["ProvisionedThroughputExceededException", "InternalFailure"];

/// Whether the service says that it refuses the whole request, and so has written nothing.
fn is_refused(error: &BoxError) -> bool {
    let error = error.downcast_ref::<PutRecordsError>();
    error
        .is_some_and(|error| error.kind() == PutRecordsErrorKind::Service && error.code().is_some())
}
