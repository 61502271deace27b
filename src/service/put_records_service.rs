use tower::{BoxError, Service};

use super::{PutRecordsRequest, PutRecordsResponse};

/// Trait alias for the bounds on the service of a sink.
///
/// This trait is implemented for every [`Service`] that takes a [`PutRecordsRequest`] and returns a
/// [`PutRecordsResponse`], if its error converts into a [`BoxError`] and its future is `Send + 'static`. Use the trait
/// as a bound in code that is generic over the service:
///
/// ```
/// use kinesis_sink::KinesisSink;
/// use kinesis_sink::service::PutRecordsService;
///
/// fn spawn<S: PutRecordsService + Send + 'static>(sink: KinesisSink<S>) -> kinesis_sink::Producer {
///     sink.spawn()
/// }
/// ```
// rustc shows this message only if `Service<PutRecordsRequest>` is not implemented. If another bound is not met, rustc
// names that bound, unless the blanket implementation is marked as `#[diagnostic::do_not_recommend]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a `Service<PutRecordsRequest>`, so a `KinesisSink` cannot use it",
    label = "not a `Service<PutRecordsRequest>`",
    note = "the response must be `PutRecordsResponse`, the error must convert into `BoxError`, and the future must be \
            `Send + 'static`"
)]
pub trait PutRecordsService:
    Service<
        PutRecordsRequest,
        Response = PutRecordsResponse,
        Error: Into<BoxError>,
        Future: Send + 'static,
    >
{
}

impl<S> PutRecordsService for S
where
    S: Service<PutRecordsRequest, Response = PutRecordsResponse>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
}
