use std::fmt;
use std::sync::Arc;

use tower::BoxError;

use crate::guard::catch_panic;
use crate::record::AttemptError;
use crate::service::{Classify, EntryClass, EntryError, ErrorClass, UNKNOWN, attempt_error};

/// Wrapper around the user's classifier. It catches panics in the classifier and in the formatting of errors, so that
/// records are still retried.
#[derive(Clone)]
pub(super) struct Classifier(Arc<dyn Classify>);

impl Classifier {
    pub(super) fn new(classify: Arc<dyn Classify>) -> Self {
        Self(classify)
    }

    pub(super) fn classify(&self, error: &BoxError) -> (ErrorClass, Arc<AttemptError>) {
        let class = catch_panic(|| self.0.classify_error(&**error));
        let described = catch_panic(|| attempt_error(&**error));
        let described = described.unwrap_or_else(|| AttemptError {
            code: UNKNOWN.to_owned(),
            message: "error without a readable text".to_owned(),
        });
        (class.unwrap_or(ErrorClass::OutcomeUnknown), Arc::new(described))
    }

    pub(super) fn classify_entry(&self, error: EntryError) -> (EntryClass, Arc<AttemptError>) {
        let class = catch_panic(|| self.0.classify_entry(&error));
        let (code, message) = error.into_parts();
        (class.unwrap_or(EntryClass::Transient), Arc::new(AttemptError { code, message }))
    }
}

impl fmt::Debug for Classifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Classifier").finish_non_exhaustive()
    }
}
