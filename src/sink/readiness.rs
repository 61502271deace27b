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

/// Maximum time that a ready instance waits for the sink, because it can block other users of a shared limit.
const COLLECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Service that sends a sink's requests, and keeps a permit of a shared limit only while the sink uses it.
///
/// After `poll_ready` of a tower service has returned `Pending`, the instance keeps its place in the queue of a shared
/// limit until it is called or dropped. It is therefore moved into a task that polls it, and replaced with a fresh
/// clone.
pub(super) struct Readiness<S> {
    service: S,
    is_ready: bool,
    waiting: Option<Waiting<S>>,
    /// `None` if the service is not `Clone`. The only instance is then polled in place.
    factory: Option<Factory<S>>,
}

/// Factory for fresh instances. It stores function pointers, so that the sink's methods need no bounds on `S`.
struct Factory<S> {
    /// Never polled, so that its clones have no place in a queue.
    template: S,
    clone: fn(&S) -> S,
    wait: fn(S, &mut Context<'_>) -> Waiting<S>,
}

impl<S> Readiness<S> {
    pub(super) fn shared(service: S) -> Self
    where
        S: Service<PutRecordsRequest, Error: Into<BoxError>> + Clone + Send + 'static,
    {
        let template = service.clone();
        let factory = Factory { template, clone: S::clone, wait: Waiting::begin };
        Self { service, is_ready: false, waiting: None, factory: Some(factory) }
    }

    pub(super) fn unshared(service: S) -> Self {
        Self { service, is_ready: false, waiting: None, factory: None }
    }

    /// Boxes the service, and releases its place in the queue of a shared limit.
    pub(super) fn boxed(self) -> Readiness<DefaultService>
    where
        S: PutRecordsService + Clone + Send + Sync + 'static,
    {
        let boxed = |service: S| BoxCloneSyncService::new(service.map_err(Into::into));
        let factory = self.factory.map(|factory| Factory {
            template: boxed(factory.template),
            clone: DefaultService::clone,
            wait: Waiting::begin,
        });
        Readiness { service: boxed(self.service), is_ready: self.is_ready, waiting: None, factory }
    }

    /// Releases the permit, and the place in the queue of a shared limit.
    pub(super) fn release(&mut self) {
        self.waiting = None;
        self.release_permit();
    }

    pub(super) fn release_permit(&mut self) {
        if self.is_ready {
            self.renew();
        }
    }

    fn renew(&mut self) {
        if let Some(factory) = &self.factory {
            self.service = (factory.clone)(&factory.template);
            self.is_ready = false;
        }
    }
}

impl<S> Readiness<S>
where
    S: Service<PutRecordsRequest, Error: Into<BoxError>>,
{
    /// Polls for readiness. In the same poll, the caller must [call](Self::call) or [release](Self::release) it.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if self.waiting.is_some()
            && let Some(collected) = ready!(self.collect(cx))
        {
            self.service = collected?;
            self.is_ready = true;
            return Poll::Ready(Ok(()));
        }
        let polled = poll_guarded(&mut self.service, cx);
        match (&polled, &self.factory) {
            (Poll::Pending, Some(factory)) => {
                let fresh = (factory.clone)(&factory.template);
                let pending = std::mem::replace(&mut self.service, fresh);
                self.waiting = Some((factory.wait)(pending, cx));
            }
            (Poll::Pending, None) => {}
            (Poll::Ready(Ok(())), _) => self.is_ready = true,
            // tower's contract forbids polling an instance again after an error.
            (Poll::Ready(Err(_)), _) => self.renew(),
        }
        polled
    }

    fn collect(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<S, BoxError>>> {
        let (Some(waiting), Some(factory)) = (&mut self.waiting, &self.factory) else {
            return Poll::Ready(None);
        };
        let collected = waiting.poll(cx);
        if collected.is_ready() {
            self.waiting = None;
        } else if waiting.runtime != Handle::current().id() {
            // The sink was moved to another runtime, and the old one might never run again.
            self.waiting = waiting.take().map(|service| (factory.wait)(service, cx));
        }
        collected
    }

    pub(super) fn call(&mut self, request: PutRecordsRequest) -> Option<S::Future> {
        self.is_ready = false;
        let call = catch_panic(|| self.service.call(request));
        if call.is_none() {
            self.renew();
        }
        call
    }
}

/// Polls the service for readiness, and converts a panic into an error.
fn poll_guarded<S>(service: &mut S, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>>
where
    S: Service<PutRecordsRequest, Error: Into<BoxError>>,
{
    match catch_panic(|| service.poll_ready(cx)) {
        Some(polled) => polled.map_err(Into::into),
        None => Poll::Ready(Err(Interrupted::Panicked.into())),
    }
}

/// Instance polled in a task. Dropping this value frees its place in the queue even if the task never runs again.
struct Waiting<S> {
    shared: Shared<S>,
    task: AbortHandle,
    runtime: runtime::Id,
}

/// State of the sink and the task. Under the lock, no method of the service other than `poll_ready` is called.
struct Shared<S>(Arc<Mutex<State<S>>>);

struct State<S> {
    /// `None` once the instance was collected or dropped.
    service: Option<S>,
    result: Option<Result<(), BoxError>>,
    sink: Option<Waker>,
}

impl<S> Waiting<S> {
    /// Moves a pending service into a task of the current runtime.
    fn begin(service: S, cx: &mut Context<'_>) -> Self
    where
        S: Service<PutRecordsRequest, Error: Into<BoxError>> + Send + 'static,
    {
        let runtime = Handle::current();
        let sink = Some(cx.waker().clone());
        let state = Arc::new(Mutex::new(State { service: Some(service), result: None, sink }));
        let poller = Poller(Shared(state.clone()));
        let task = runtime.spawn(poller.run()).abort_handle();
        Self { shared: Shared(state), task, runtime: runtime.id() }
    }

    /// Polls for the instance or its error. Returns `None` if it was dropped because it waited too long.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<S, BoxError>>> {
        let mut state = self.shared.lock();
        if state.service.is_some() && state.result.is_none() {
            let replaced = state.sink.replace(cx.waker().clone());
            drop(state);
            drop(replaced);
            return Poll::Pending;
        }
        let collected = state.service.take().zip(state.result.take());
        drop(state);
        Poll::Ready(collected.map(|(service, result)| result.map(|()| service)))
    }

    fn take(&mut self) -> Option<S> {
        self.shared.lock().service.take()
    }
}

impl<S> Drop for Waiting<S> {
    fn drop(&mut self) {
        self.task.abort();
        drop(self.take());
    }
}

impl<S> Shared<S> {
    fn lock(&self) -> MutexGuard<'_, State<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Part of [`Waiting`] owned by the task. It is dropped [`COLLECT_TIMEOUT`] after the instance became ready, or
/// together with the runtime. This also drops the instance, unless the sink has collected it by then.
struct Poller<S>(Shared<S>);

impl<S> Poller<S>
where
    S: Service<PutRecordsRequest, Error: Into<BoxError>>,
{
    async fn run(self) {
        poll_fn(|cx| self.poll(cx)).await;
        sleep(COLLECT_TIMEOUT).await;
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.lock();
        if let Some(service) = &mut state.service {
            state.result = Some(ready!(poll_guarded(service, cx)));
        }
        let sink = state.sink.take();
        drop(state);
        if let Some(sink) = sink {
            sink.wake();
        }
        Poll::Ready(())
    }
}

impl<S> Drop for Poller<S> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        let service = state.service.take();
        let sink = state.sink.take();
        drop(state);
        drop(service);
        // If the service has not become ready, the sink's waker is still registered, and the sink must poll again.
        if let Some(sink) = sink {
            sink.wake();
        }
    }
}
