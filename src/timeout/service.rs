use std::task::{Context, Poll, ready};
use std::time::Duration;

use tower::{BoxError, Service};

use super::{ResponseFuture, TimeoutError};

/// Limits the time of each request. See the [module](super).
#[derive(Debug, Clone)]
pub struct Timeout<S> {
    inner: S,
    timeout: Duration,
}

impl<S> Timeout<S> {
    /// Wraps `inner`, whose requests may then take `timeout`.
    #[must_use]
    pub fn new(inner: S, timeout: Duration) -> Self {
        Self { inner, timeout }
    }
}

impl<S, Request> Service<Request> for Timeout<S>
where
    S: Service<Request>,
    S::Error: Into<BoxError>,
{
    type Response = S::Response;
    type Error = TimeoutError;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TimeoutError>> {
        let ready = ready!(self.inner.poll_ready(cx));
        Poll::Ready(ready.map_err(|error| TimeoutError::Service(error.into())))
    }

    /// # Panics
    ///
    /// Outside of a tokio runtime with its timer enabled.
    fn call(&mut self, request: Request) -> Self::Future {
        ResponseFuture::new(self.inner.call(request), self.timeout)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tower::{ServiceExt, service_fn};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_late_answer_is_a_typed_error() {
        let after = |millis| {
            service_fn(move |(): ()| async move {
                tokio::time::sleep(Duration::from_millis(millis)).await;
                Ok::<_, Infallible>("answer")
            })
        };
        let limit = Duration::from_millis(100);
        let late = Timeout::new(after(101), limit).oneshot(()).await;
        assert!(matches!(late, Err(TimeoutError::Elapsed { after }) if after == limit));
        assert_eq!(Timeout::new(after(99), limit).oneshot(()).await.unwrap(), "answer");
    }

    #[tokio::test]
    async fn the_services_error_stays_below() {
        let failing = service_fn(|(): ()| async { Err::<(), _>(std::io::Error::other("inner")) });
        let error = Timeout::new(failing, Duration::from_secs(1)).oneshot(()).await.unwrap_err();
        let source = std::error::Error::source(&error).unwrap();
        assert!(source.is::<std::io::Error>());
    }
}
