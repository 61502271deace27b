use std::time::Duration;

use tower::Layer;

use super::Timeout;

/// Layer that applies [`Timeout`], by default with 10 seconds, and with up to 30 seconds while requests time out
/// repeatedly.
#[derive(Debug, Clone, Copy)]
pub struct TimeoutLayer {
    timeout: Duration,
    max: Duration,
}

impl TimeoutLayer {
    /// Default timeout of a request: 10 s. A full request of 5 MiB, 7 MB as JSON,
    /// takes 6 s at 10 Mbit/s; the service itself responds in tens of milliseconds.
    pub const DEFAULT: Duration = Duration::from_secs(10);

    /// Default maximum of the timeout while requests time out repeatedly: 30 s.
    ///
    /// A request on a connection that silently lost its peer waits for this long, even if the network works
    /// again in the meantime.
    pub const DEFAULT_MAX: Duration = Duration::from_secs(30);

    /// Creates a layer with this timeout. While requests time out repeatedly it is raised up to
    /// [`DEFAULT_MAX`](Self::DEFAULT_MAX), unless `timeout` is longer.
    #[must_use]
    pub fn new(timeout: Duration) -> Self {
        Self { timeout, max: Self::DEFAULT_MAX.max(timeout) }
    }

    /// Sets the maximum of the timeout, whatever the
    /// [factor](crate::service::PutRecordsRequest::timeout_factor) of a request. A maximum below the timeout counts
    /// as the timeout: then every request gets the same time.
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
