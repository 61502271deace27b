use std::task::{Context, Poll, ready};
use std::time::Duration;

use tower::{BoxError, Service};

use super::{ResponseFuture, TimeoutError, TimeoutLayer};
use crate::service::PutRecordsRequest;

/// Middleware that applies a timeout to requests. See the [module docs](super) for an example.
#[derive(Debug, Clone)]
pub struct Timeout<S> {
    inner: S,
    timeout: Duration,
    max: Duration,
}

impl<S> Timeout<S> {
    /// Creates a new `Timeout` around `inner`. See [`TimeoutLayer::new`].
    #[must_use]
    pub fn new(inner: S, timeout: Duration) -> Self {
        Self { inner, timeout, max: TimeoutLayer::DEFAULT_MAX.max(timeout) }
    }

    /// Sets the maximum timeout. See [`TimeoutLayer::with_max`].
    #[must_use]
    pub fn with_max(mut self, max: Duration) -> Self {
        self.max = max.max(self.timeout);
        self
    }

    inner_service_accessors!();
}

impl<S> Service<PutRecordsRequest> for Timeout<S>
where
    S: Service<PutRecordsRequest>,
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
    /// Panics if called outside of a tokio runtime with the timer enabled.
    fn call(&mut self, request: PutRecordsRequest) -> Self::Future {
        let timeout = self.timeout.saturating_mul(request.timeout_factor()).min(self.max);
        ResponseFuture::new(self.inner.call(request), timeout)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tower::{ServiceExt, service_fn};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn late_response_returns_elapsed_error() {
        let limit = Duration::from_millis(100);
        let late = Timeout::new(responding_after(101), limit).oneshot(request(1)).await;
        assert!(matches!(late, Err(TimeoutError::Elapsed { after }) if after == limit));
        let timely = Timeout::new(responding_after(99), limit).oneshot(request(1)).await;
        assert_eq!(timely.unwrap(), "response");
    }

    #[tokio::test(start_paused = true)]
    async fn timeout_factor_raises_timeout_up_to_max() {
        let limit = Duration::from_millis(100);
        let timeout = |factor, max: Option<u64>| async move {
            let service = Timeout::new(responding_after(60_000), limit);
            let service = match max {
                Some(max) => service.with_max(Duration::from_millis(max)),
                None => service,
            };
            match service.oneshot(request(factor)).await {
                Err(TimeoutError::Elapsed { after }) => after.as_millis(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(timeout(2, None).await, 200);
        assert_eq!(timeout(u32::MAX, None).await, 30_000);
        assert_eq!(timeout(4, Some(250)).await, 250);
        assert_eq!(timeout(1, Some(50)).await, 100, "the timeout itself is longer");
    }

    fn request(timeout_factor: u32) -> PutRecordsRequest {
        let stream = "example".parse().unwrap();
        PutRecordsRequest::new(stream, []).with_timeout_factor(timeout_factor)
    }

    fn responding_after(
        millis: u64,
    ) -> impl Service<PutRecordsRequest, Response = &'static str, Error = Infallible, Future: Send>
    {
        service_fn(move |_: PutRecordsRequest| async move {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            Ok("response")
        })
    }

    #[tokio::test]
    async fn inner_error_is_returned_as_source() {
        let failing = service_fn(|_| async { Err::<(), _>(std::io::Error::other("inner")) });
        let limit = Duration::from_secs(1);
        let error = Timeout::new(failing, limit).oneshot(request(1)).await.unwrap_err();
        let source = std::error::Error::source(&error).unwrap();
        assert!(source.is::<std::io::Error>());
    }
}
