use std::time::Duration;

use tower::Layer;

use super::Timeout;

/// Layer that applies [`Timeout`]. Its default is 10 seconds, and 30 seconds while requests time out again
/// and again.
#[derive(Debug, Clone, Copy)]
pub struct TimeoutLayer {
    timeout: Duration,
    max: Duration,
}

impl TimeoutLayer {
    /// Time of one request unless another is chosen: 10 s. A full request of 5 MiB, 7 MB as JSON,
    /// takes 6 s at 10 Mbit/s; the service itself answers in tens of milliseconds.
    pub const DEFAULT: Duration = Duration::from_secs(10);

    /// Most time of one request while requests time out again and again, unless another is chosen: 30 s.
    ///
    /// A request on a connection that silently lost its peer waits for this long, even if the network works
    /// again in the meantime.
    pub const DEFAULT_MAX: Duration = Duration::from_secs(30);

    /// Creates a layer that lets requests take `timeout`, and at most
    /// [`DEFAULT_MAX`](Self::DEFAULT_MAX), or `timeout` if that is longer, while requests time out again
    /// and again.
    #[must_use]
    pub fn new(timeout: Duration) -> Self {
        Self { timeout, max: Self::DEFAULT_MAX.max(timeout) }
    }

    /// Sets how long a request may take whatever its
    /// [factor](crate::service::PutRecordsRequest::timeout_factor). Less than the timeout itself is the
    /// same as that: every request gets the same time then.
    #[must_use]
    pub fn with_max(mut self, max: Duration) -> Self {
        self.max = max.max(self.timeout);
        self
    }
}

impl Default for TimeoutLayer {
    fn default() -> Self {
        Self::new(Self::DEFAULT)
    }
}

impl<S> Layer<S> for TimeoutLayer {
    type Service = Timeout<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Timeout::new(inner, self.timeout).with_max(self.max)
    }
}
