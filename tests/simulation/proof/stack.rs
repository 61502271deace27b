//! What lies between the sink and the stream.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use fastrand::Rng;
use kinesis_sink::service::{PutRecords, PutRecordsRequest, PutRecordsResponse};
use kinesis_sink::sim::SimStream;
use kinesis_sink::timeout::TimeoutLayer;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Service, ServiceBuilder, ServiceExt};

use super::breaking::Breaking;
use super::damage::Damaging;
use super::drawn::{Drawn, ms, one_of};
use super::ledger::Shared;
use super::witness::Witness;

pub type Boxed = BoxCloneSyncService<PutRecordsRequest, PutRecordsResponse, BoxError>;

/// Which layers, and which way to the stream.
#[derive(Debug)]
pub struct Stack {
    way: Way,
    layer: Layer,
    timeout: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Direct,
    /// Through the SDK, with bodies of this crate's making.
    Sdk,
    /// Through the SDK, with its own.
    SdkSerialisation,
    Cbor,
}

#[derive(Debug, Clone, Copy)]
enum Layer {
    None,
    /// A limit that another user shares.
    ConcurrencyLimit(usize),
    LoadShed,
    /// With a rate limit behind it: requests a second.
    Buffer {
        rate: u64,
    },
}

impl Stack {
    pub fn new(rng: &mut Rng) -> Self {
        use Way::{Cbor, Direct, Sdk, SdkSerialisation};
        let layers = [
            Layer::None,
            Layer::None,
            Layer::ConcurrencyLimit(rng.usize(1..=3)),
            Layer::LoadShed,
            Layer::Buffer { rate: rng.u64(20..=200) },
        ];
        Self {
            way: one_of(rng, &[Direct, Direct, Direct, Direct, Sdk, SdkSerialisation, Cbor]),
            layer: one_of(rng, &layers),
            timeout: ms(rng.u64(700..=1_200)),
        }
    }

    /// Whether each request reaches the witness when it leaves the sink.
    pub fn is_direct(&self) -> bool {
        !matches!(self.layer, Layer::Buffer { .. })
    }

    pub fn build(&self, drawn: &Drawn, stream: &SimStream, ledger: &Shared) -> Boxed {
        // A buffer whose worker has failed never works again.
        let breaking = |service| Breaking::new(service, drawn, self.is_direct(), ledger);
        match self.way {
            Way::Direct => self.around(breaking(boxed(stream.service())), drawn, ledger),
            way => {
                let damaging = Damaging::new(stream, drawn, ledger);
                let config = stream.client().config().to_builder().http_client(damaging).build();
                let service = PutRecords::new(&Client::from_conf(config));
                let service = match way {
                    Way::SdkSerialisation => service.with_sdk_serialization(),
                    Way::Cbor => service.with_cbor(),
                    _ => service.with_direct_serialization(),
                };
                self.around(breaking(boxed(service)), drawn, ledger)
            }
        }
    }

    fn around(&self, service: Breaking, drawn: &Drawn, ledger: &Shared) -> Boxed {
        let service = Witness::new(service, ledger, &drawn.settings);
        let builder = ServiceBuilder::new().layer(TimeoutLayer::new(self.timeout));
        match self.layer {
            Layer::None => boxed(builder.service(service)),
            Layer::ConcurrencyLimit(max) => {
                let semaphore = Arc::new(Semaphore::new(max));
                tokio::spawn(use_limit(semaphore.clone(), drawn.seed, drawn.time, ledger.clone()));
                let limit = GlobalConcurrencyLimitLayer::with_semaphore(semaphore);
                boxed(builder.layer(limit).service(service))
            }
            Layer::LoadShed => boxed(builder.load_shed().concurrency_limit(1).service(service)),
            Layer::Buffer { rate } => {
                let second = Duration::from_secs(1);
                boxed(builder.buffer(2).rate_limit(rate, second).service(service))
            }
        }
    }
}

/// The time within which another user of a limit gets a permit. The request in flight takes at most 1.2 s. The sink
/// that waits before that user takes at most 1.2 s for its own request, or a second if it is not polled.
const SERVED_IN: Duration = Duration::from_secs(5);

/// Takes a permit again and again, also for a while after the sink's owner is done.
async fn use_limit(semaphore: Arc<Semaphore>, seed: u64, time: Duration, ledger: Shared) {
    let mut rng = Rng::with_seed(seed);
    let until = Instant::now() + time + Duration::from_secs(20);
    while Instant::now() < until {
        sleep(ms(rng.u64(0..=300))).await;
        match timeout(SERVED_IN, semaphore.acquire()).await {
            Ok(permit) => {
                ledger.lock().seen.note("another user of the limit", 1);
                sleep(ms(rng.u64(0..=200))).await;
                drop(permit);
            }
            Err(_) => {
                let starves = || format!("another user of the limit got none in {SERVED_IN:?}");
                return ledger.lock().broken(starves);
            }
        }
    }
}

fn boxed<S>(service: S) -> Boxed
where
    S: Service<PutRecordsRequest, Response = PutRecordsResponse, Error: Into<BoxError>>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    BoxCloneSyncService::new(service.map_err(Into::into))
}
