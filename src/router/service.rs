use std::task::{Context, Poll, ready};

use tokio::task::coop::poll_proceed;
use tower::Service;

use super::Router;
use super::settings::WhenFull;
use crate::error::{Error, ErrorKind};
use crate::producer::ResponseFuture;
use crate::record::{Delivery, Record};
use crate::stream::StreamId;

/// Sends single records and responds with their [`Delivery`].
///
/// `poll_ready` fails if the router was closed, and otherwise does not wait, because the stream of the next record is not
/// known yet. The future returned by `call` waits until the record is accepted, like [`put_to`](Router::put_to), and then
/// until it is settled. To limit the number of waiting records, add tower's `ConcurrencyLimit`.
///
/// A record has at most one receipt, and the service uses it. If the record already has a [receipt](Record::tracked), that
/// receipt completes as if the record had been dropped.
///
/// ```
/// use futures::{StreamExt, stream};
/// use kinesis_sink::{Record, Router, StreamId};
/// use tower::{BoxError, ServiceBuilder, ServiceExt};
///
/// # async fn run(router: Router) -> Result<(), BoxError> {
/// let service = ServiceBuilder::new().concurrency_limit(100).service(router);
/// let (clicks, orders): (StreamId, StreamId) = ("clicks".parse()?, "orders".parse()?);
/// let records = [(clicks, Record::from("a click")), (orders, Record::from("an order"))];
/// let mut deliveries = service.call_all(stream::iter(records));
/// while let Some(delivery) = deliveries.next().await {
///     println!("{}", delivery?.sequence_number());
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Cancel safety
///
/// If the future returned by `call` is dropped before the record is accepted, the record is dropped. Afterwards, it is
/// still sent.
impl Service<(StreamId, Record)> for Router {
    type Response = Delivery;
    type Error = Error;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.is_closed() {
            return Poll::Ready(Err(Error::closed()));
        }
        // A caller that sends in a loop must let the drivers run.
        ready!(poll_proceed(cx)).made_progress();
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (stream, record): (StreamId, Record)) -> ResponseFuture {
        let (record, receipt) = record.tracked();
        match self.try_send_to(&stream, record) {
            Err(error) if self.can_wait(&error) => {
                let router = self.clone();
                let send = |record| async move { router.send_to(stream, record).await };
                ResponseFuture::waiting(error, receipt, send)
            }
            sent => ResponseFuture::new(sent, receipt),
        }
    }
}

impl Router {
    /// Returns `true` if the call that returned this error would have waited if it could.
    fn can_wait(&self, error: &Error) -> bool {
        match error.kind() {
            ErrorKind::Full => true,
            ErrorKind::TooManyStreams => self.0.when_full() == WhenFull::Evict,
            _ => false,
        }
    }
}
