use std::collections::HashMap;
use std::future::Future;
use std::task::{Context, Poll, ready};

use tokio::runtime::Handle;
use tokio::task::{Id, JoinError, JoinSet};
use tower::BoxError;

use crate::budget::MemberPermit;
use crate::pipeline::RequestId;
use crate::service::PutRecordsResponse;

type TaskResult = Result<PutRecordsResponse, BoxError>;

/// Requests in flight. Their tasks run even while the sink is not polled, and are aborted when this value is dropped.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// `None` while there are none.
    tasks: Option<JoinSet<TaskResult>>,
    ids: HashMap<Id, RequestId>,
}

impl Requests {
    /// Spawns a request, which keeps its permit until it completes.
    pub(super) fn spawn<F, E>(
        &mut self,
        id: RequestId,
        request: F,
        permit: Option<MemberPermit>,
        runtime: &Handle,
    ) where
        F: Future<Output = Result<PutRecordsResponse, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        let request = async move {
            let _permit = permit;
            request.await.map_err(Into::into)
        };
        let task = self.tasks.get_or_insert_default().spawn_on(request, runtime);
        self.ids.insert(task.id(), id);
    }

    /// Polls for the next completed request. Must be called after each [`spawn`](Self::spawn) to register the waker.
    pub(super) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<(RequestId, TaskResult)>> {
        let Some(tasks) = &mut self.tasks else { return Poll::Ready(None) };
        let joined = ready!(tasks.poll_join_next_with_id(cx));
        Poll::Ready(joined.map(|joined| self.finish(joined)))
    }

    pub(super) fn try_next(&mut self) -> Option<(RequestId, TaskResult)> {
        let joined = self.tasks.as_mut()?.try_join_next_with_id()?;
        Some(self.finish(joined))
    }

    /// Adds a request for which the service panicked in `call`. It completes as if its future had panicked.
    pub(super) fn spawn_panicked(&mut self, id: RequestId, runtime: &Handle) {
        self.spawn(id, std::future::ready(Err(Interrupted::Panicked)), None, runtime);
    }

    pub(super) fn abandon(&mut self) {
        *self = Self::default();
    }

    /// Releases unused memory.
    pub(super) fn rest(&mut self) {
        self.tasks.take_if(|tasks| tasks.is_empty());
        self.ids.shrink_to_fit();
    }

    fn finish(&mut self, joined: Result<(Id, TaskResult), JoinError>) -> (RequestId, TaskResult) {
        let (task, result) = match joined {
            Ok((task, result)) => (task, result),
            Err(error) if error.is_panic() => (error.id(), Err(Interrupted::Panicked.into())),
            Err(error) => (error.id(), Err(Interrupted::Cancelled.into())),
        };
        let id = self.ids.remove(&task).expect("every task was spawned with an id");
        (id, result)
    }
}

/// Error of an interrupted request or `poll_ready` call. Contains no panic message, because it can contain a payload.
#[derive(Debug, thiserror::Error)]
pub(super) enum Interrupted {
    #[error("the service panicked")]
    Panicked,
    #[error("the runtime ended the request's task")]
    Cancelled,
}
