//! Producer as a `tower::Service` of single records.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::task::coop::poll_proceed;
use tower::Service;

use super::Producer;
use crate::error::{Error, Rejection};
use crate::record::{Delivery, Receipt, Record};

/// Sends single records. The response is the record's [`Delivery`].
///
/// `poll_ready` waits for capacity in the buffer, as [`send`](Producer::send) does, and fails once the producer has
/// ended. The future of `call` completes when the record is settled. If the service refuses every request and the
/// producer retries ([`FatalPolicy::Retry`](crate::settings::FatalPolicy)), or if failed records that were not taken
/// fill the buffer, `poll_ready` returns `Ready` and `call` returns the record in its error.
///
/// Each clone must be polled for readiness separately. A clone that was polled and is not called keeps a permit for one
/// record, or its place in the queue. Use a separate clone as the service, and drop it afterwards. A record has one
/// receipt: an earlier one of [`Record::tracked`] completes as if the record had been dropped.
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
/// Dropping the future of `call` does not withdraw the record: it was accepted and is sent.
impl Service<Record> for Producer {
    type Response = Delivery;
    type Error = Error;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let Self { handle, reservation } = self;
        let ready = ready!(reservation.poll(&handle.0, cx));
        // A caller in a loop must let the driver run.
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
        // A rejected record must not keep the permit.
        reservation.release();
        ResponseFuture(match accepted {
            Ok(()) => Response::Receipt(receipt),
            Err(error) => Response::Rejected(Some(error)),
        })
    }
}

/// Response future of a [`Producer`] as a [`Service`].
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
