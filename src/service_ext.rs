use std::time::Duration;

use tower::ServiceBuilder;
use tower::layer::util::Stack;

#[cfg(feature = "metrics")]
use crate::metrics::MetricsLayer;
use crate::timeout::TimeoutLayer;
use crate::trace::TraceLayer;

/// Extension trait that adds methods to [`ServiceBuilder`] for the layers of this crate.
///
/// ```
/// use std::time::Duration;
/// use kinesis_sink::service::{PutRecords, ServiceBuilderExt};
/// use kinesis_sink::KinesisSink;
/// use tower::ServiceBuilder;
///
/// # fn run(client: aws_sdk_kinesis::Client) -> Result<(), Box<dyn std::error::Error>> {
/// let service = ServiceBuilder::new()
///     .trace_put_records()
///     .concurrency_limit(2)
///     .timeout_put_records(Duration::from_secs(5))
///     .service(PutRecords::new(&client));
/// let sink = KinesisSink::builder("example").build_with(service)?;
/// # Ok(())
/// # }
/// ```
pub trait ServiceBuilderExt<L>: sealed::Sealed<L> + Sized {
    /// Applies a timeout to each request. See [`timeout`](crate::timeout).
    fn timeout_put_records(self, timeout: Duration) -> ServiceBuilder<Stack<TimeoutLayer, L>>;

    /// Adds tracing to each request, at DEBUG. See [`trace`](crate::trace).
    ///
    /// To change the level or the span, add a [`TraceLayer`] instead.
    fn trace_put_records(self) -> ServiceBuilder<Stack<TraceLayer, L>>;

    /// Records metrics of each request. See [`metrics`](crate::metrics).
    ///
    /// Requires the feature `metrics`, which is on by default.
    #[cfg(feature = "metrics")]
    fn metrics_put_records(self) -> ServiceBuilder<Stack<MetricsLayer, L>>;
}

impl<L> ServiceBuilderExt<L> for ServiceBuilder<L> {
    fn timeout_put_records(self, timeout: Duration) -> ServiceBuilder<Stack<TimeoutLayer, L>> {
        self.layer(TimeoutLayer::new(timeout))
    }

    fn trace_put_records(self) -> ServiceBuilder<Stack<TraceLayer, L>> {
        self.layer(TraceLayer::new())
    }

    #[cfg(feature = "metrics")]
    fn metrics_put_records(self) -> ServiceBuilder<Stack<MetricsLayer, L>> {
        self.layer(MetricsLayer::new())
    }
}

mod sealed {
    pub trait Sealed<L> {}

    impl<L> Sealed<L> for tower::ServiceBuilder<L> {}
}
