use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::task::coop::poll_proceed;
use tower::Service;

use super::Producer;
use crate::error::{Error, Rejection};
use crate::record::{Delivery, Receipt, Record};

/// Sends single records and responds with their [`Delivery`].
///
/// `poll_ready` waits for buffer capacity, like [`send`](Producer::send), and fails if the producer has ended. The
/// future returned by `call` completes when the record is settled.
///
/// In two cases the record cannot be accepted, but `poll_ready` returns `Ready(Ok)` so that `call` can return the
/// record in its error: if Kinesis refuses every request and the producer retries
/// ([`FatalPolicy::Retry`](crate::settings::FatalPolicy)), and if the buffer is full of failed records that have not
/// been taken.
///
/// Each clone must be polled for readiness separately. A clone that is polled but not called keeps the capacity
/// reserved for one record, or its place in the queue. To release them, use a separate clone as the service and drop
/// the clone afterwards.
///
/// A record has at most one receipt, and the service uses it. If the record already has a [receipt](Record::tracked),
/// that receipt completes as if the record had been dropped.
///
/// ```
/// use std::time::Duration;
/// use futures::{StreamExt, stream};
/// use kinesis_sink::{Producer, Record};
/// use tower::{BoxError, ServiceBuilder, ServiceExt};
///
/// # async fn run(producer: Producer) -> Result<(), BoxError> {
/// let service = ServiceBuilder::new()
///     .concurrency_limit(100)
///     .timeout(Duration::from_secs(60))
///     .service(producer);
/// let mut deliveries = service.call_all(stream::iter(["one", "two"]).map(Record::from));
/// while let Some(delivery) = deliveries.next().await {
///     println!("{}", delivery?.sequence_number());
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Cancel safety
///
/// If the future returned by `call` is dropped, the record is still sent, because it was already accepted.
impl Service<Record> for Producer {
    type Response = Delivery;
    type Error = Error;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let Self { handle, reservation } = self;
        let ready = ready!(reservation.poll(&handle.0, cx));
        // A caller that sends in a loop must let the driver run.
        ready!(poll_proceed(cx)).made_progress();
        Poll::Ready(match ready {
            // For these rejections, `call` returns the record.
            Ok(()) | Err(Rejection::Refused(_) | Rejection::Undelivered { .. }) => Ok(()),
            Err(rejection) => Err(Error::rejection(rejection).with_stream(self.stream().clone())),
        })
    }

    fn call(&mut self, record: Record) -> ResponseFuture {
        let (record, receipt) = record.tracked();
        let Self { handle, reservation } = self;
        let accepted = handle.0.accept_reserved(record, reservation);
        // If the record was rejected, the permit was not used and must be released.
        reservation.release();
        ResponseFuture(match accepted {
            Ok(()) => Response::Receipt(receipt),
            Err(error) => Response::Rejected(Some(error)),
        })
    }
}

/// Response future of the [`Service`] implementation of [`Producer`].
///
/// # Panics
///
/// Panics if it is polled after completion.
#[derive(Debug)]
#[must_use = "futures do nothing unless they are polled"]
pub struct ResponseFuture(Response);

#[derive(Debug)]
enum Response {
    Receipt(Receipt),
    Rejected(Option<Error>),
}

impl Future for ResponseFuture {
    type Output = Result<Delivery, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Response::Receipt(receipt) => Pin::new(receipt).poll(cx).map_err(Error::from),
            Response::Rejected(error) => {
                Poll::Ready(Err(error.take().expect("`ResponseFuture` polled after completion")))
            }
        }
    }
}
