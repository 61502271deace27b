use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::future::BoxFuture;
use tokio::task::coop::poll_proceed;
use tower::Service;

use super::Producer;
use crate::error::{Error, ErrorKind, Rejection};
use crate::record::{Delivery, Receipt, Record};

/// Sends single records and responds with their [`Delivery`].
///
/// `poll_ready` waits for capacity in the share of the last record, and fails if the producer has ended. The future
/// returned by `call` completes when the record is settled. If the shard of the record has used up its share of
/// the buffer, the record waits in this future until it is accepted.
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
/// If the future returned by `call` is dropped, the record is still sent, unless it was waiting for the share of its
/// shard. It is then dropped.
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
            Err(rejection) if rejection.is_full_spool() => Ok(()),
            Err(rejection) => Err(Error::rejection(rejection).with_stream(self.stream().clone())),
        })
    }

    fn call(&mut self, record: Record) -> ResponseFuture {
        let (record, receipt) = record.tracked();
        let Self { handle, reservation } = self;
        let accepted = match reservation.take() {
            Some(permit) => match handle.0.accept_within_share(record, permit, reservation) {
                Err(error) if error.kind() == ErrorKind::Full => {
                    let producer = self.clone();
                    let send = |record| async move { producer.send(record).await };
                    return ResponseFuture::waiting(error, receipt, send);
                }
                accepted => accepted,
            },
            None => {
                let accepted = handle.0.accept_reserved(record, reservation);
                // If the record was rejected, the place in the queue must be released.
                reservation.release();
                accepted
            }
        };
        ResponseFuture::new(accepted, receipt)
    }
}

/// Response future of the [`Service`] implementations of [`Producer`] and [`Router`](crate::Router).
///
/// # Panics
///
/// Panics if it is polled after completion.
#[must_use = "futures do nothing unless they are polled"]
pub struct ResponseFuture(Response);

enum Response {
    /// The record waits until it is accepted.
    Waiting(BoxFuture<'static, Result<(), Error>>, Option<Receipt>),
    Receipt(Receipt),
    Rejected(Option<Error>),
}

impl ResponseFuture {
    pub(crate) fn new(accepted: Result<(), Error>, receipt: Receipt) -> Self {
        Self(match accepted {
            Ok(()) => Response::Receipt(receipt),
            Err(error) => Response::Rejected(Some(error)),
        })
    }

    /// Sends the record of an error again, waiting until it is accepted.
    pub(crate) fn waiting<F>(error: Error, receipt: Receipt, send: impl FnOnce(Record) -> F) -> Self
    where
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let Some(record) = error.into_record() else {
            unreachable!("an error of a record that was not accepted contains the record")
        };
        Self(Response::Waiting(Box::pin(send(record)), Some(receipt)))
    }
}

impl Future for ResponseFuture {
    type Output = Result<Delivery, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            self.0 = match &mut self.0 {
                Response::Waiting(sent, receipt) => {
                    match (ready!(sent.as_mut().poll(cx)), receipt.take()) {
                        (Ok(()), Some(receipt)) => Response::Receipt(receipt),
                        (Err(error), _) => Response::Rejected(Some(error)),
                        (Ok(()), None) => unreachable!("the receipt is taken once"),
                    }
                }
                Response::Receipt(receipt) => {
                    return Pin::new(receipt).poll(cx).map_err(Error::from);
                }
                Response::Rejected(error) => {
                    let error = error.take().expect("`ResponseFuture` polled after completion");
                    return Poll::Ready(Err(error));
                }
            };
        }
    }
}

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
