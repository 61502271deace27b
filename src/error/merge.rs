use super::{Cause, Error, ErrorKind};

impl Error {
    /// Merges the errors of several streams. Returns the error itself if there is only one.
    ///
    /// The merged error contains the undelivered records of all errors, and the sum of their counts. Its kind, message and
    /// source are those of the most severe error.
    pub(crate) fn merge(errors: impl IntoIterator<Item = Self>) -> Result<(), Self> {
        let mut errors: Vec<_> = errors.into_iter().collect();
        if errors.len() < 2 {
            return errors.pop().map_or(Ok(()), Err);
        }
        let severity = |error: &&Self| severity(error.kind());
        // `max_by_key` returns the last of several maxima.
        let Some(worst) = errors.iter().rev().max_by_key(severity) else { return Ok(()) };
        let (kind, stream) = (worst.kind(), worst.stream().cloned());
        let message = match &stream {
            Some(stream) => format!("stream {}: {worst}", stream.name()),
            None => worst.to_string(),
        };
        let streams = errors.len();
        let mut cause = Cause::None;
        let (mut undelivered, mut count) = (Vec::new(), 0);
        for Self(error) in errors {
            if matches!(cause, Cause::None) && error.kind == kind && error.stream == stream {
                cause = error.cause;
            }
            undelivered.extend(error.undelivered);
            count += error.count;
        }
        let cause = Cause::Streams { streams, message: message.into(), cause: Box::new(cause) };
        Err(Self::new(kind, cause).with_count(count).with_undelivered(undelivered))
    }
}

/// Returns a larger number for an error that requires more from the caller.
fn severity(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Stopped => 4,
        ErrorKind::Abandoned => 3,
        ErrorKind::Refused => 2,
        ErrorKind::Undelivered => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;
    use std::sync::Arc;

    use super::*;
    use crate::record::{AttemptError, FailureReason, Record, Undelivered};
    use crate::stream::StreamId;

    fn id(stream: &str) -> StreamId {
        stream.parse().unwrap()
    }

    fn undelivered(stream: &str, records: usize) -> Error {
        let undelivered = Undelivered {
            record: Record::from("data"),
            stream: Some(id(stream)),
            reason: FailureReason::Dropped,
            attempts: 1,
            may_have_been_written: false,
            history: Box::default(),
        };
        let error = Error::undelivered_at_close(id(stream)).with_count(records);
        error.with_undelivered(vec![undelivered; records])
    }

    fn stopped(stream: &str) -> Error {
        let (code, message) = ("AccessDenied".to_owned(), "no".to_owned());
        Error::stopped(id(stream), Arc::new(AttemptError { code, message })).with_count(5)
    }

    #[test]
    fn no_error_merges_to_success() {
        assert!(Error::merge([]).is_ok());
    }

    #[test]
    fn single_error_is_returned_unchanged() {
        let error = Error::merge([undelivered("clicks", 2)]).unwrap_err();
        assert_eq!(error.stream(), Some(&id("clicks")));
        assert_eq!(error.to_string(), undelivered("clicks", 2).to_string());
    }

    #[test]
    fn merged_records_keep_their_streams() {
        let error = Error::merge([undelivered("clicks", 2), undelivered("orders", 1)]).unwrap_err();
        assert_eq!((error.kind(), error.count()), (ErrorKind::Undelivered, 3));
        assert_eq!(error.stream(), None);
        assert_eq!(
            error.to_string(),
            "2 streams failed (3 records affected), one of them: stream clicks: \
             2 records not delivered; last reason: dropped before a sink accepted it"
        );
        assert_eq!(error.reason(), Some(&FailureReason::Dropped));
        let streams = error.into_undelivered().into_iter().map(|each| each.stream.unwrap());
        assert_eq!(streams.collect::<Vec<_>>(), ["clicks", "clicks", "orders"].map(id));
    }

    #[test]
    fn merged_error_shows_most_severe_error() {
        let error = Error::merge([undelivered("a", 1), stopped("b"), stopped("c")]).unwrap_err();
        assert_eq!((error.kind(), error.count()), (ErrorKind::Stopped, 11));
        let message = error.to_string();
        assert!(message.starts_with("3 streams failed (11 records affected)"), "{message}");
        assert!(message.contains("stream b: producer stopped"), "{message}");
        assert_eq!(error.source().unwrap().to_string(), "AccessDenied: no");
    }
}
