use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::runtime::{self, Handle};
use tokio::task::AbortHandle;
use tokio::time::sleep;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Service, ServiceExt};

use super::DefaultService;
use super::requests::Interrupted;
use crate::guard::catch_panic;
use crate::service::{PutRecordsRequest, PutRecordsService};

/// How long a ready instance is kept for a sink that is not polled. A sink that is polled when it wakes needs a
/// fraction of this; one that is not delays every user of a shared limit by this time.
const COLLECT_WITHIN: Duration = Duration::from_secs(1);

/// The service below a sink, which holds a permit of a shared limit only while the sink uses it.
///
/// A tower service takes its place in a queue when `poll_ready` is pending, and keeps the place, and the
/// permit that follows, until it is called or dropped. So a pending instance moves into a task, which waits until
/// the instance is ready and hands it back. Meanwhile the sink has a fresh clone. Dropping the waiting instance
/// gives its place up.
pub(super) struct Readiness<S> {
    service: S,
    /// Whether `service` has become ready and was not called since.
    is_ready: bool,
    waiting: Option<Waiting<S>>,
    /// `None` for a stack that is not `Clone`: its only instance is polled in place.
    spare: Option<Spare<S>>,
}

/// Makes fresh instances. The function pointers are set where the bounds on `S` are known, so that the sink's
/// methods do not require `Clone`.
struct Spare<S> {
    /// Never polled, so its clones have no place in a queue.
    template: S,
    clone: fn(&S) -> S,
    wait: fn(S, &mut Context<'_>) -> Waiting<S>,
}

impl<S> Readiness<S> {
    /// Wraps a stack that is `Clone`.
    pub(super) fn shared(service: S) -> Self
    where
        S: Service<PutRecordsRequest, Error: Into<BoxError>> + Clone + Send + 'static,
    {
        let template = service.clone();
        let spare = Spare { template, clone: S::clone, wait: Waiting::begin };
        Self { service, is_ready: false, waiting: None, spare: Some(spare) }
    }

    /// Wraps a stack of which there is only one instance.
    pub(super) fn unshared(service: S) -> Self {
        Self { service, is_ready: false, waiting: None, spare: None }
    }

    /// Boxes the stack. A place in the queue of a shared service is given up.
    pub(super) fn boxed(self) -> Readiness<DefaultService>
    where
        S: PutRecordsService + Clone + Send + Sync + 'static,
    {
        let boxed = |service: S| BoxCloneSyncService::new(service.map_err(Into::into));
        let spare = self.spare.map(|spare| Spare {
            template: boxed(spare.template),
            clone: DefaultService::clone,
            wait: Waiting::begin,
        });
        Readiness { service: boxed(self.service), is_ready: self.is_ready, waiting: None, spare }
    }

    /// Gives up the place in the queue of a shared service, and the permit if there is one.
    pub(super) fn give_up(&mut self) {
        self.waiting = None;
        self.give_up_permit();
    }

    /// Gives up the permit if there is one, but no place in a queue.
    pub(super) fn give_up_permit(&mut self) {
        if self.is_ready {
            self.renew();
        }
    }

    /// Replaces the instance by a fresh one, unless the stack is not `Clone`.
    fn renew(&mut self) {
        if let Some(spare) = &self.spare {
            self.service = (spare.clone)(&spare.template);
            self.is_ready = false;
        }
    }
}

impl<S> Readiness<S>
where
    S: Service<PutRecordsRequest, Error: Into<BoxError>>,
{
    /// Polls for readiness. The caller either [calls](Self::call) the service in the same poll, or
    /// [gives it up](Self::give_up).
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if self.waiting.is_some()
            && let Some(collected) = ready!(self.collect(cx))
        {
            self.service = collected?;
            self.is_ready = true;
            return Poll::Ready(Ok(()));
        }
        let polled = poll_guarded(&mut self.service, cx);
        match (&polled, &self.spare) {
            (Poll::Pending, Some(spare)) => {
                let fresh = (spare.clone)(&spare.template);
                let pending = std::mem::replace(&mut self.service, fresh);
                self.waiting = Some((spare.wait)(pending, cx));
            }
            (Poll::Pending, None) => {}
            (Poll::Ready(Ok(())), _) => self.is_ready = true,
            // tower's contract: an instance that has failed to become ready is not asked again.
            (Poll::Ready(Err(_)), _) => self.renew(),
        }
        polled
    }

    /// Takes the waiting instance back once it is ready or has failed. `None` if it was not collected in time.
    fn collect(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<S, BoxError>>> {
        let (Some(waiting), Some(spare)) = (&mut self.waiting, &self.spare) else {
            return Poll::Ready(None);
        };
        let collected = waiting.poll(cx);
        if collected.is_ready() {
            self.waiting = None;
        } else if waiting.runtime != Handle::current().id() {
            // The runtime of its task may never run again.
            self.waiting = waiting.take().map(|service| (spare.wait)(service, cx));
        }
        collected
    }

    /// Calls the ready service. `None` if it panics.
    pub(super) fn call(&mut self, request: PutRecordsRequest) -> Option<S::Future> {
        self.is_ready = false;
        let call = catch_panic(|| self.service.call(request));
        if call.is_none() {
            self.renew();
        }
        call
    }
}

/// Polls the service for readiness, with a panic as an error.
fn poll_guarded<S>(service: &mut S, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>>
where
    S: Service<PutRecordsRequest, Error: Into<BoxError>>,
{
    match catch_panic(|| service.poll_ready(cx)) {
        Some(polled) => polled.map_err(Into::into),
        None => Poll::Ready(Err(Interrupted::Panicked.into())),
    }
}

/// An instance that waits in a task. Dropping this gives its place up at once, even if the task never runs again.
struct Waiting<S> {
    place: Place<S>,
    task: AbortHandle,
    runtime: runtime::Id,
}

/// The state that the sink and the task share. The only method of the service that runs under the lock is
/// `poll_ready`.
struct Place<S>(Arc<Mutex<State<S>>>);

struct State<S> {
    /// `None` once it was collected or given up.
    service: Option<S>,
    /// The result of `poll_ready`, once it is no longer pending.
    outcome: Option<Result<(), BoxError>>,
    sink: Option<Waker>,
}

impl<S> Waiting<S> {
    /// Moves a service that is pending into a task of the current runtime.
    fn begin(service: S, cx: &mut Context<'_>) -> Self
    where
        S: Service<PutRecordsRequest, Error: Into<BoxError>> + Send + 'static,
    {
        let runtime = Handle::current();
        let sink = Some(cx.waker().clone());
        let state = Arc::new(Mutex::new(State { service: Some(service), outcome: None, sink }));
        let keeper = Keeper(Place(state.clone()));
        let task = runtime.spawn(keeper.keep()).abort_handle();
        Self { place: Place(state), task, runtime: runtime.id() }
    }

    /// Returns the instance, or its error. `None` if it was not collected in time.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<S, BoxError>>> {
        let mut state = self.place.lock();
        if state.service.is_some() && state.outcome.is_none() {
            let replaced = state.sink.replace(cx.waker().clone());
            drop(state);
            drop(replaced);
            return Poll::Pending;
        }
        let collected = state.service.take().zip(state.outcome.take());
        drop(state);
        Poll::Ready(collected.map(|(service, outcome)| outcome.map(|()| service)))
    }

    fn take(&mut self) -> Option<S> {
        self.place.lock().service.take()
    }
}

impl<S> Drop for Waiting<S> {
    fn drop(&mut self) {
        self.task.abort();
        drop(self.take());
    }
}

impl<S> Place<S> {
    fn lock(&self) -> MutexGuard<'_, State<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task's side of [`Waiting`]. Dropping it, after [`COLLECT_WITHIN`] or with the runtime, gives up an instance
/// that was not collected.
struct Keeper<S>(Place<S>);

impl<S> Keeper<S>
where
    S: Service<PutRecordsRequest, Error: Into<BoxError>>,
{
    async fn keep(self) {
        poll_fn(|cx| self.poll(cx)).await;
        sleep(COLLECT_WITHIN).await;
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.lock();
        if let Some(service) = &mut state.service {
            state.outcome = Some(ready!(poll_guarded(service, cx)));
        }
        let sink = state.sink.take();
        drop(state);
        if let Some(sink) = sink {
            sink.wake();
        }
        Poll::Ready(())
    }
}

impl<S> Drop for Keeper<S> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        let (service, sink) = (state.service.take(), state.sink.take());
        drop(state);
        drop(service);
        // The waker is still there if the service has not become ready: the sink has to poll again.
        if let Some(sink) = sink {
            sink.wake();
        }
    }
}
