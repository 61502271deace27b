use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::future::BoxFuture;
use tokio::task::coop::poll_proceed;
use tower::Service;

use super::Router;
use super::settings::WhenFull;
use crate::error::{Error, ErrorKind};
use crate::record::{Delivery, Receipt, Record};
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
        ResponseFuture(match self.try_send_to(&stream, record) {
            Ok(()) => Response::Receipt(receipt),
            Err(error) if self.can_wait(&error) => {
                let router = self.clone();
                let sent = async move {
                    match error.into_record() {
                        Some(record) => router.send_to(stream, record).await,
                        None => unreachable!("the error contains the record"),
                    }
                };
                Response::Waiting(Box::pin(sent), Some(receipt))
            }
            Err(error) => Response::Rejected(Some(error)),
        })
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

/// Response future of the [`Service`] implementation of [`Router`].
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

impl Future for ResponseFuture {
    type Output = Result<Delivery, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            self.0 = match &mut self.0 {
                Response::Waiting(sent, receipt) => {
                    let sent = ready!(sent.as_mut().poll(cx));
                    match (sent, receipt.take()) {
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
