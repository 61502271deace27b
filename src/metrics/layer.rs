use tower::Layer;

use super::{Metrics, names};

/// Layer that applies [`Metrics`]. See the [module docs](super) for an example.
///
/// Requires the feature `metrics`, which is on by default.
#[derive(Debug, Clone, Copy, Default)]
pub struct MetricsLayer;

impl MetricsLayer {
    /// Creates a new `MetricsLayer`.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl<S> Layer<S> for MetricsLayer {
    type Service = Metrics<S>;

    fn layer(&self, inner: S) -> Self::Service {
        names::describe_layer();
        Metrics::new(inner)
    }
}
