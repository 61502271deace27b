use std::collections::HashMap;
use std::future::Future;
use std::task::{Context, Poll, ready};

use tokio::runtime::Handle;
use tokio::task::{Id, JoinError, JoinSet};
use tower::BoxError;

use crate::pipeline::RequestId;
use crate::service::PutRecordsResponse;

type Outcome = Result<PutRecordsResponse, BoxError>;

/// The requests in flight, each a task of its own, so that they go on while nobody polls the sink.
/// Dropping it aborts them.
#[derive(Debug, Default)]
pub(super) struct Requests {
    tasks: JoinSet<Outcome>,
    ids: HashMap<Id, RequestId>,
}

impl Requests {
    pub(super) fn spawn<F, E>(&mut self, id: RequestId, request: F, runtime: &Handle)
    where
        F: Future<Output = Result<PutRecordsResponse, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        let task = self.tasks.spawn_on(async move { request.await.map_err(Into::into) }, runtime);
        self.ids.insert(task.id(), id);
    }

    /// The next request that ended. Pending while some are in flight and none has ended; it must be
    /// polled again after a [`spawn`](Self::spawn) to be woken for that one.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<(RequestId, Outcome)>> {
        let joined = ready!(self.tasks.poll_join_next_with_id(cx));
        Poll::Ready(joined.map(|joined| self.ended(joined)))
    }

    /// The next request that has ended already.
    pub(super) fn try_next(&mut self) -> Option<(RequestId, Outcome)> {
        let joined = self.tasks.try_join_next_with_id()?;
        Some(self.ended(joined))
    }

    /// Notes a request whose service panicked before there was a future to spawn: it ends like one whose
    /// future panicked.
    pub(super) fn spawn_panicked(&mut self, id: RequestId, runtime: &Handle) {
        self.spawn(id, std::future::ready(Err(Interrupted::Panicked)), runtime);
    }

    /// Aborts what is in flight and forgets it.
    pub(super) fn abandon(&mut self) {
        *self = Self::default();
    }

    fn ended(&mut self, joined: Result<(Id, Outcome), JoinError>) -> (RequestId, Outcome) {
        let (task, outcome) = match joined {
            Ok((task, outcome)) => (task, outcome),
            Err(error) if error.is_panic() => (error.id(), Err(Interrupted::Panicked.into())),
            Err(error) => (error.id(), Err(Interrupted::Cancelled.into())),
        };
        let id = self.ids.remove(&task).expect("every task was spawned with an id");
        (id, outcome)
    }
}

/// A request or a `poll_ready` that was interrupted. Whether the records of a request were written is unknown.
///
/// Holds nothing of the panic's message, which may quote what the service was given.
#[derive(Debug, thiserror::Error)]
pub(super) enum Interrupted {
    #[error("the service panicked")]
    Panicked,
    #[error("the runtime ended the request's task")]
    Cancelled,
}
