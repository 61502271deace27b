//! The stack of services between the sink and the stream.

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

use super::corruption::CorruptingClient;
use super::faulty_service::FaultyService;
use super::ledger::SharedLedger;
use super::request_observer::RequestObserver;
use super::scenario::{Scenario, ms, one_of};

pub type Boxed = BoxCloneSyncService<PutRecordsRequest, PutRecordsResponse, BoxError>;

#[derive(Debug)]
pub struct Stack {
    transport: Transport,
    layer: Layer,
    timeout: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    Direct,
    /// The SDK client, with request bodies that this crate serializes.
    Sdk,
    SdkSerialization,
    Cbor,
}

#[derive(Debug, Clone, Copy)]
enum Layer {
    None,
    ConcurrencyLimit(usize),
    LoadShed,
    Buffer { requests_per_s: u64 },
}

impl Stack {
    pub fn new(rng: &mut Rng) -> Self {
        use Transport::{Cbor, Direct, Sdk, SdkSerialization};
        let layers = [
            Layer::None,
            Layer::None,
            Layer::ConcurrencyLimit(rng.usize(1..=3)),
            Layer::LoadShed,
            Layer::Buffer { requests_per_s: rng.u64(20..=200) },
        ];
        Self {
            transport: one_of(rng, &[Direct, Direct, Direct, Direct, Sdk, SdkSerialization, Cbor]),
            layer: one_of(rng, &layers),
            timeout: ms(rng.u64(700..=1_200)),
        }
    }

    /// Returns `true` if a request reaches the observer as soon as it leaves the sink.
    pub fn is_direct(&self) -> bool {
        !matches!(self.layer, Layer::Buffer { .. })
    }

    pub fn build(&self, scenario: &Scenario, stream: &SimStream, ledger: &SharedLedger) -> Boxed {
        // A tower `Buffer` fails permanently when its inner service fails.
        let faulty = |service| FaultyService::new(service, scenario, self.is_direct(), ledger);
        match self.transport {
            Transport::Direct => self.wrap(faulty(boxed(stream.service())), scenario, ledger),
            transport => {
                let http_client = CorruptingClient::new(stream, scenario, ledger);
                let config = stream.client().config().to_builder().http_client(http_client).build();
                let service = PutRecords::new(&Client::from_conf(config));
                let service = match transport {
                    Transport::SdkSerialization => service.with_sdk_serialization(),
                    Transport::Cbor => service.with_cbor(),
                    _ => service.with_direct_serialization(),
                };
                self.wrap(faulty(boxed(service)), scenario, ledger)
            }
        }
    }

    fn wrap(&self, service: FaultyService, scenario: &Scenario, ledger: &SharedLedger) -> Boxed {
        let service = RequestObserver::new(service, ledger, &scenario.settings);
        let builder = ServiceBuilder::new().layer(TimeoutLayer::new(self.timeout));
        match self.layer {
            Layer::None => boxed(builder.service(service)),
            Layer::ConcurrencyLimit(max) => {
                let semaphore = Arc::new(Semaphore::new(max));
                tokio::spawn(share_limit(
                    semaphore.clone(),
                    scenario.seed,
                    scenario.time,
                    ledger.clone(),
                ));
                let limit = GlobalConcurrencyLimitLayer::with_semaphore(semaphore);
                boxed(builder.layer(limit).service(service))
            }
            Layer::LoadShed => boxed(builder.load_shed().concurrency_limit(1).service(service)),
            Layer::Buffer { requests_per_s } => {
                let second = Duration::from_secs(1);
                boxed(builder.buffer(2).rate_limit(requests_per_s, second).service(service))
            }
        }
    }
}

/// Time within which the other user of a concurrency limit must get a permit. It can wait for the request in flight and
/// for that of a waiting sink, which take up to 1.2 s each. An unpolled sink can also keep a permit for a second.
const PERMIT_TIMEOUT: Duration = Duration::from_secs(5);

async fn share_limit(semaphore: Arc<Semaphore>, seed: u64, time: Duration, ledger: SharedLedger) {
    let mut rng = Rng::with_seed(seed);
    let until = Instant::now() + time + Duration::from_secs(20);
    while Instant::now() < until {
        sleep(ms(rng.u64(0..=300))).await;
        match timeout(PERMIT_TIMEOUT, semaphore.acquire()).await {
            Ok(permit) => {
                ledger.lock().coverage.count("another user of the limit", 1);
                sleep(ms(rng.u64(0..=200))).await;
                drop(permit);
            }
            Err(_) => {
                let text =
                    || format!("another user of the limit got no permit in {PERMIT_TIMEOUT:?}");
                return ledger.lock().violation(text);
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
