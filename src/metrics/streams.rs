//! Values of the label `stream`, of which a bounded number name a stream.

use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::handles::Handles;
use super::names::OTHER_STREAMS;
use crate::service::PutRecordsRequest;
use crate::stream::StreamId;

/// Assigns label values to streams. Clones share the assignment.
///
/// The first streams are labeled with their names, up to a maximum. All other streams share one label value.
#[derive(Clone)]
pub(crate) struct StreamLabels(Arc<Inner>);

struct Inner {
    max_named: usize,
    /// Names of the streams that have their own label. A stream keeps its label after its sink was dropped.
    named: Mutex<HashSet<Box<str>>>,
    shared: Arc<SharedLabel>,
}

/// Value of the label `stream` for one stream.
pub(crate) enum StreamLabel {
    /// The name of the stream.
    Name,
    /// [`OTHER_STREAMS`].
    Shared(Arc<SharedLabel>),
}

impl StreamLabels {
    pub(crate) fn new(max_named: usize) -> Self {
        let named = Mutex::default();
        Self(Arc::new(Inner { max_named, named, shared: Arc::default() }))
    }

    /// Returns the label of a stream. The name of the stream uses up one of the label values if it is a new label.
    pub(crate) fn label_of(&self, stream: &StreamId) -> StreamLabel {
        let Inner { max_named, named, shared } = &*self.0;
        let name = stream.name();
        let mut named = lock(named);
        if named.contains(name) {
            return StreamLabel::Name;
        }
        if named.len() < *max_named {
            named.insert(name.into());
            return StreamLabel::Name;
        }
        StreamLabel::Shared(Arc::clone(shared))
    }
}

/// Returns the value of the label `stream` for the metrics of a request.
pub(super) fn label_of_request(request: &PutRecordsRequest) -> &str {
    if request.shares_label() { OTHER_STREAMS } else { request.stream().name() }
}

/// Metrics of the streams that share the label value [`OTHER_STREAMS`].
#[derive(Default)]
pub(crate) struct SharedLabel {
    /// Registered when the first stream shares the label.
    handles: OnceLock<Handles>,
    /// Time at which the oldest unsettled record of each member was accepted. Members without such a record have none.
    oldest: Mutex<BTreeSet<(Instant, u64)>>,
    next_member: AtomicU64,
}

/// Sink that shares the label value [`OTHER_STREAMS`].
pub(super) struct Member {
    label: Arc<SharedLabel>,
    id: u64,
    oldest: Option<Instant>,
}

impl Member {
    pub(super) fn new(label: Arc<SharedLabel>) -> Self {
        let id = label.next_member.fetch_add(1, Ordering::Relaxed);
        Self { label, id, oldest: None }
    }

    pub(super) fn handles(&self) -> &Handles {
        self.label.handles.get_or_init(|| Handles::new(OTHER_STREAMS))
    }

    /// Updates the gauge to the age of the oldest unsettled record of all members.
    pub(super) fn report_oldest(&mut self, accepted_at: Option<Instant>, now: Instant) {
        let mut oldest = lock(&self.label.oldest);
        let before = std::mem::replace(&mut self.oldest, accepted_at);
        if before != accepted_at {
            if let Some(before) = before {
                oldest.remove(&(before, self.id));
            }
            if let Some(accepted_at) = accepted_at {
                oldest.insert((accepted_at, self.id));
            }
        }
        let age =
            oldest.first().map(|(accepted_at, _)| now.saturating_duration_since(*accepted_at));
        // The lock is held, so that an older value does not overwrite a newer one.
        self.handles().records.oldest_age.set(age.unwrap_or(Duration::ZERO));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};

    use super::*;
    use crate::metrics::names::OLDEST_RECORD_AGE;

    fn is_named(labels: &StreamLabels, stream: &str) -> bool {
        matches!(labels.label_of(&stream.parse().unwrap()), StreamLabel::Name)
    }

    #[test]
    fn first_streams_keep_their_labels() {
        let labels = StreamLabels::new(2);
        let arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/a";
        for (stream, named) in
            [("a", true), (arn, true), ("b", true), ("c", false), ("b", true), ("c", false)]
        {
            assert_eq!(is_named(&labels.clone(), stream), named, "{stream}");
        }
        assert!(!is_named(&StreamLabels::new(0), "a"));
    }

    /// Returns the value of the gauge that the members share.
    fn shared_age(recorder: &DebuggingRecorder) -> DebugValue {
        let mut metrics = recorder.snapshotter().snapshot().into_vec().into_iter();
        let age = metrics.find(|(key, ..)| key.key().name() == OLDEST_RECORD_AGE);
        age.expect("the gauge is registered").3
    }

    #[test]
    fn shared_age_is_maximum_of_members() {
        let recorder = DebuggingRecorder::new();
        let label = Arc::new(SharedLabel::default());
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        metrics::with_local_recorder(&recorder, || {
            let mut members = [1, 2, 3].map(|_| Member::new(Arc::clone(&label)));
            for (member, accepted_at, now, age) in [
                (0, None, 0, 0),
                (0, Some(1), 2, 1),
                (1, Some(1), 3, 2),
                (2, Some(3), 4, 3),
                (0, Some(4), 5, 4), // the second member has the oldest record
                (1, None, 6, 3),
                (2, None, 7, 3),
                (0, Some(4), 9, 5),
                (0, None, 9, 0),
            ] {
                members[member].report_oldest(accepted_at.map(at), at(now));
                let age = DebugValue::Gauge(f64::from(age).into());
                assert_eq!(shared_age(&recorder), age, "{member} {accepted_at:?} {now}");
            }
        });
        assert!(lock(&label.oldest).is_empty());
    }

    #[test]
    fn shared_label_is_no_stream_name() {
        assert!(OTHER_STREAMS.parse::<StreamId>().is_err());
    }
}
