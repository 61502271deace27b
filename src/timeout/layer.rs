use std::time::Duration;

use tower::Layer;

use super::Timeout;

/// Layer that applies [`Timeout`]. See the [module docs](super) for an example.
///
/// By default, a request times out after 10 seconds. If requests time out repeatedly, a sink raises the timeout to up
/// to 30 seconds.
#[derive(Debug, Clone, Copy)]
pub struct TimeoutLayer {
    timeout: Duration,
    max: Duration,
}

impl TimeoutLayer {
    /// Default timeout of a request: 10 s.
    ///
    /// The default is long enough for a full request over a slow link: 5 MiB of records become 7 MB of JSON, which
    /// takes 6 s to send at 10 Mbit/s. The service itself responds within tens of milliseconds.
    pub const DEFAULT: Duration = Duration::from_secs(10);

    /// Default maximum to which repeated timeouts can raise the timeout: 30 s.
    ///
    /// A longer timeout delays recovery: if the peer of a connection disappears silently, a request on that connection
    /// waits for the whole timeout, even if the network recovers earlier.
    pub const DEFAULT_MAX: Duration = Duration::from_secs(30);

    /// Creates a new `TimeoutLayer` with the given request timeout.
    ///
    /// The maximum is [`DEFAULT_MAX`](Self::DEFAULT_MAX), or `timeout` if that is longer.
    #[must_use]
    pub fn new(timeout: Duration) -> Self {
        Self { timeout, max: Self::DEFAULT_MAX.max(timeout) }
    }

    /// Sets the maximum timeout. The [timeout factor](crate::service::PutRecordsRequest::timeout_factor) of a request
    /// cannot raise the timeout above it.
    ///
    /// If `max` is shorter than the timeout, the timeout itself becomes the maximum, so the factor has no effect.
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
