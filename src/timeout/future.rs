use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project::pin_project;
use tokio::time::Sleep;
use tower::BoxError;

use super::TimeoutError;

/// Response future of [`Timeout`](super::Timeout).
#[pin_project]
#[derive(Debug)]
pub struct ResponseFuture<F> {
    #[pin]
    inner: F,
    #[pin]
    sleep: Sleep,
    after: Duration,
}

impl<F> ResponseFuture<F> {
    pub(super) fn new(inner: F, after: Duration) -> Self {
        Self { inner, sleep: tokio::time::sleep(after), after }
    }
}

impl<F, T, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<T, E>>,
    E: Into<BoxError>,
{
    type Output = Result<T, TimeoutError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(result) = this.inner.poll(cx) {
            return Poll::Ready(result.map_err(|error| TimeoutError::Service(error.into())));
        }
        ready!(this.sleep.poll(cx));
        Poll::Ready(Err(TimeoutError::Elapsed { after: *this.after }))
    }
}
