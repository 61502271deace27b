use std::time::Duration;

use tower::Layer;

use super::Timeout;

/// Layer that applies [`Timeout`]. See the [module docs](super) for an example.
///
/// The default timeout of a request is 10 seconds. While requests time out repeatedly, the timeout is raised to up to
/// 30 seconds.
#[derive(Debug, Clone, Copy)]
pub struct TimeoutLayer {
    timeout: Duration,
    max: Duration,
}

impl TimeoutLayer {
    /// Default timeout of a request: 10 s.
    ///
    /// A full request of 5 MiB is 7 MB of JSON and takes 6 s at 10 Mbit/s. The service itself responds in tens of
    /// milliseconds.
    pub const DEFAULT: Duration = Duration::from_secs(10);

    /// Default maximum of the timeout while requests time out repeatedly: 30 s.
    ///
    /// If the peer of a connection has silently disappeared, a request on that connection can wait for this long, even
    /// if the network recovers in the meantime.
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
    /// If `max` is shorter than the timeout, the maximum is the timeout, and the factor has no effect.
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
