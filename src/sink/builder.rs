use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, ServiceBuilder};

use super::KinesisSink;
use super::fatal_policy::FatalPolicy;
use super::requests::Requests;
use crate::build_error::{BuildError, SettingError};
use crate::limits::Limits;
use crate::pipeline::{Linger, Pipeline, Settings};
use crate::record::DeadLetter;
use crate::service::{Classify, PutRecords, PutRecordsRequest, PutRecordsResponse};
use crate::service_ext::ServiceBuilderExt;
use crate::stream::StreamId;
use crate::timeout::TimeoutLayer;

/// The stack below a sink that was built without one: tracing, metrics (feature `metrics`), time-out,
/// SDK call. Boxed, so that its type stays the same whatever is in it.
pub type DefaultService = BoxCloneSyncService<PutRecordsRequest, PutRecordsResponse, BoxError>;

/// Settings of a [`KinesisSink`], each with a default.
///
/// | setting | default | range |
/// |---|---|---|
/// | [limits](Self::with_limits) | 500 entries, 5 MiB a request, 1 MiB a record | see [`Limits`] |
/// | [max in flight](Self::with_max_in_flight) | 4 requests | 1 to 1,000 |
/// | [linger](Self::with_linger) | self-clocked, 100 ms | 0 to 60 s |
/// | [buffer records](Self::with_buffer_records) | 10,000 | 1 to 100,000,000 |
/// | [buffer bytes](Self::with_buffer_bytes) | 32 MiB | 1 B to 1 TiB |
/// | [back-off](Self::with_backoff) | 100 ms, at most 5 s | 1 ms to 60 s |
/// | [max attempts](Self::with_max_attempts) | none | 1 or more |
/// | [deadline](Self::with_deadline) | none | 1 ms to 7 days |
/// | [request timeout](Self::with_request_timeout) | 10 s | 1 ms to 10 min |
/// | [classify](Self::with_classify) | [`DefaultClassify`](crate::service::DefaultClassify) | |
/// | [dead letters](Self::with_dead_letters) | none: failed records stay in the sink | |
/// | [fatal policy](Self::with_fatal_policy) | [`Stop`](FatalPolicy::Stop) | |
/// | [seed](Self::with_seed) | drawn | |
///
/// ```
/// use std::time::Duration;
/// use kinesis_sink::{KinesisSink, Limits, Undelivered};
///
/// # fn run(client: aws_sdk_kinesis::Client) -> Result<(), kinesis_sink::BuildError> {
/// let sink = KinesisSink::builder()
///     .with_limits(Limits::default().with_request_bytes(10 * 1024 * 1024))
///     .with_max_in_flight(8)
///     .with_buffer_bytes(128 * 1024 * 1024)
///     .with_deadline(Duration::from_secs(3600))
///     .with_dead_letters(|lost: Undelivered| eprintln!("{}", lost.reason()))
///     .build(&client, "example")?;
/// # Ok(())
/// # }
/// ```
#[must_use = "a builder does nothing until it builds"]
pub struct SinkBuilder {
    settings: Settings,
    request_timeout: Duration,
    dead_letters: Option<Box<dyn DeadLetter>>,
    fatal_policy: FatalPolicy,
}

impl Default for SinkBuilder {
    fn default() -> Self {
        Self {
            settings: Settings::default(),
            request_timeout: TimeoutLayer::DEFAULT,
            dead_letters: None,
            fatal_policy: FatalPolicy::default(),
        }
    }
}

impl SinkBuilder {
    /// Sets what one request and one record may hold.
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.settings.limits = limits;
        self
    }

    /// Sets how many requests may be in flight at once: 1 to 1,000, by default 4. At a round trip of
    /// 20 ms four requests of 500 records move 100,000 records a second. After whole requests failed
    /// or were shed it is one, a probe, until one succeeds.
    pub fn with_max_in_flight(mut self, requests: usize) -> Self {
        self.settings.max_in_flight = requests;
        self
    }

    /// Sets when a flush may send a request that is not full, see [`Linger`].
    pub fn with_linger(mut self, linger: Linger) -> Self {
        self.settings.linger = linger;
        self
    }

    /// Sets how many records the sink may hold before its source waits, those in flight and the failed
    /// ones that it keeps included: 1 to 100,000,000, by default 10,000.
    pub fn with_buffer_records(mut self, records: usize) -> Self {
        self.settings.buffer_records = records;
        self
    }

    /// Sets how many bytes (data and partition keys) the sink may hold before its source waits, those
    /// in flight included: 1 B to 1 TiB (on 32-bit targets 2 GiB), by default 32 MiB. The record that crosses the bound is still taken.
    pub fn with_buffer_bytes(mut self, bytes: usize) -> Self {
        self.settings.buffer_bytes = bytes;
        self
    }

    /// Sets the waits after failures: drawn evenly from 0 to `base`, doubling with each failure in a
    /// row up to `ceiling`. By default 100 ms and 5 s; both 1 ms to 60 s, `base` at most `ceiling`.
    pub fn with_backoff(mut self, base: Duration, ceiling: Duration) -> Self {
        self.settings.backoff_base = base;
        self.settings.backoff_ceiling = ceiling;
        self
    }

    /// Gives a record up after this many attempts: 1 or more. By default there is no limit.
    ///
    /// What counts is told at [`Undelivered::attempts`](crate::Undelivered::attempts).
    pub fn with_max_attempts(mut self, attempts: u32) -> Self {
        self.settings.max_attempts = Some(attempts);
        self
    }

    /// Gives a record up when it is still waiting this long after it was accepted: 1 ms to 7 days. By
    /// default there is no deadline. A record in flight at that moment is given up only if the attempt
    /// fails.
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.settings.deadline = Some(deadline);
        self
    }

    /// Sets the time of one request in the stack that [`build`](Self::build) makes: 1 ms to 10 minutes,
    /// by default 10 s. See [`timeout`](crate::timeout).
    pub fn with_request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// Sets what errors mean, see [`Classify`].
    pub fn with_classify(mut self, classify: impl Classify + 'static) -> Self {
        self.settings.classify = Arc::new(classify);
        self
    }

    /// Sets who takes the records that failed for good. Without it the sink keeps them and reports an
    /// error.
    ///
    /// A closure needs its parameter's type: `|lost: Undelivered| ..`.
    pub fn with_dead_letters(mut self, dead_letters: impl DeadLetter + 'static) -> Self {
        self.dead_letters = Some(Box::new(dead_letters));
        self
    }

    /// Sets what a [`Producer`](crate::Producer) made of the sink does when the service refuses every
    /// request: [`FatalPolicy::Stop`] by default. The sink itself tells its owner, who decides.
    pub fn with_fatal_policy(mut self, policy: FatalPolicy) -> Self {
        self.fatal_policy = policy;
        self
    }

    /// Seeds the random keys and the jitter, for tests that must be repeatable. By default drawn from
    /// the system.
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.settings.seed = Some(seed);
        self
    }

    /// Builds a sink with the default stack over a client derived from `client`: tracing, metrics
    /// (feature `metrics`), the time-out, the SDK call without its own retries.
    ///
    /// # Errors
    ///
    /// A setting is out of range, `stream` is neither a name nor an ARN, the client has no region, or
    /// the ARN has another one.
    pub fn build(
        self,
        client: &Client,
        stream: impl AsRef<str>,
    ) -> Result<KinesisSink, BuildError> {
        let range = Duration::from_millis(1)..=Duration::from_secs(600);
        SettingError::check("request_timeout", self.request_timeout, range)?;
        let stream: StreamId = stream.as_ref().parse()?;
        // An empty AWS_REGION comes out as a region without a name.
        let region = client.config().region().map_or("", |region| region.as_ref());
        if region.is_empty() {
            return Err(BuildError::NoRegion);
        }
        stream.check_region(Some(region))?;
        let stack = ServiceBuilder::new().trace_put_records();
        #[cfg(feature = "metrics")]
        let stack = stack.measure_put_records();
        let service = stack
            .timeout_put_records(self.request_timeout)
            .service(PutRecords::new(client).without_stalled_stream_protection());
        Ok(self.assemble(BoxCloneSyncService::new(service), stream)?)
    }

    /// Builds a sink with the default stack, with the region and credentials of the environment:
    /// variables, profile, container or instance role, as `aws-config` finds them. An ARN's region goes
    /// before the environment's.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build). Missing credentials show at the first request, as
    /// [`SinkError::Request`](crate::SinkError::Request).
    ///
    /// # Cancel safety
    ///
    /// Nothing is sent before it returns; dropping it changes nothing.
    #[cfg(feature = "config")]
    pub async fn build_from_env(self, stream: impl AsRef<str>) -> Result<KinesisSink, BuildError> {
        let stream: StreamId = stream.as_ref().parse()?;
        let mut environment = aws_config::defaults(aws_config::BehaviorVersion::latest());
        if let Some(region) = stream.region() {
            environment = environment.region(aws_config::Region::new(region.to_owned()));
        }
        self.build(&Client::new(&environment.load().await), stream)
    }

    /// Builds a sink over a stack of services of your own, with [`PutRecords`] or anything else at its
    /// bottom. See [`ServiceBuilderExt`].
    ///
    /// The stack is asked for readiness only when a request is due, and called in the same poll. It
    /// should limit the time of a request, as [`TimeoutLayer`] does: the sink waits for every answer.
    ///
    /// # Errors
    ///
    /// A setting is out of range, or `stream` is neither a name nor an ARN.
    pub fn build_with<S>(
        self,
        service: S,
        stream: impl AsRef<str>,
    ) -> Result<KinesisSink<S>, BuildError> {
        Ok(self.assemble(service, stream.as_ref().parse()?)?)
    }

    fn assemble<S>(self, service: S, stream: StreamId) -> Result<KinesisSink<S>, SettingError> {
        self.settings.validate()?;
        Ok(KinesisSink {
            service,
            pipeline: Pipeline::new(stream, self.settings),
            requests: Requests::default(),
            timer: None,
            dead_letters: self.dead_letters,
            outage_logged: false,
            fatal_policy: self.fatal_policy,
        })
    }
}

impl fmt::Debug for SinkBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SinkBuilder")
            .field("settings", &self.settings)
            .field("request_timeout", &self.request_timeout)
            .field("dead_letters", &self.dead_letters.is_some())
            .field("fatal_policy", &self.fatal_policy)
            .finish()
    }
}
