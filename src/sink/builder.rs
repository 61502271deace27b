use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Service, ServiceBuilder};

use super::KinesisSink;
use super::discovery::Discovery;
use super::drive_skip::DriveSkip;
use super::fatal_policy::FatalPolicy;
use super::readiness::Readiness;
use super::requests::Requests;
use crate::build_error::BuildError;
use crate::limits::{Limits, PAYLOAD_UNIT_BYTES};
#[cfg(feature = "metrics")]
use crate::metrics::{MetricsGranularity, SinkMetrics};
use crate::pipeline::{AggregateKey, Aggregation, Linger, Pipeline, Prerequisites, RecordOrdering};
use crate::record::DeadLetterHandler;
use crate::service::{
    Classify, DefaultClassify, PutRecords, PutRecordsRequest, PutRecordsResponse, SdkStreamInfo,
};
use crate::service_ext::ServiceBuilderExt;
use crate::settings::{BackoffSettings, Settings};
use crate::stream::{StreamId, StreamInfo};
use crate::timeout::TimeoutLayer;

/// The stack below a sink that was built without one: tracing, metrics (feature `metrics`), time-out,
/// SDK call. Boxed, so that its type stays the same whatever is in it.
pub type DefaultService = BoxCloneSyncService<PutRecordsRequest, PutRecordsResponse, BoxError>;

/// Builder of a [`KinesisSink`]. Every setting has a default.
///
/// | setting | default | range |
/// |---|---|---|
/// | [limits](Self::with_limits) | 500 entries, 5 MiB a request, 1 MiB a record; 1,000 records/s, 1 MiB/s a shard | see [`Limits`] |
/// | [max in flight](Self::with_max_in_flight) | 4 requests | 1 to 1,000 |
/// | [linger](Self::with_linger) | self-clocked, 100 ms; with aggregation fill, 100 ms | 0 to 60 s |
/// | [aggregation](Self::with_aggregation) | off | |
/// | [aggregate units](Self::with_aggregate_units) | 2 (51,200 bytes) | 1 to 409 |
/// | [aggregate bytes](Self::with_aggregate_bytes), the same setting | 51,200 | 1 B to 10 MiB |
/// | [aggregate records](Self::with_aggregate_records) | 4,294,967,295 | 1 or more |
/// | [aggregate key](Self::with_aggregate_key) | that of the first member | |
/// | [ordering](Self::with_ordering) | none | |
/// | [stream info](Self::with_stream_info) | the service, with aggregation or ordering | |
/// | [buffer records](Self::with_buffer_records) | 10,000; with aggregation 100,000 | 1 to 100,000,000 |
/// | [buffer bytes](Self::with_buffer_bytes) | 32 MiB | 1 B to 1 TiB |
/// | [backoff](Self::with_backoff) | 100 ms, at most 3 s | 1 ms to 60 s |
/// | [max attempts](Self::with_max_attempts) | none | 1 or more |
/// | [deadline](Self::with_deadline) | none | 1 ms to 7 days |
/// | [credentials timeout](Self::with_credentials_timeout) | 5 min | 0 to 7 days |
/// | [request timeout](Self::with_request_timeout) | 10 s | 1 ms to 10 min |
/// | [max request timeout](Self::with_max_request_timeout) | 30 s | 1 ms to 10 min |
/// | [classify](Self::with_classify) | [`DefaultClassify`] | |
/// | [dead letters](Self::with_dead_letters) | none: failed records stay in the sink | |
/// | [fatal policy](Self::with_fatal_policy) | [`Stop`](FatalPolicy::Stop) | |
/// | metrics (`with_metrics`, feature `metrics`) | per shard | |
/// | [seed](Self::with_seed) | random | |
///
/// The settings that are data are a [`Settings`], which can be read from a configuration file.
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
    stream_info: Option<Arc<dyn StreamInfo>>,
    classify: Arc<dyn Classify>,
    dead_letters: Option<Box<dyn DeadLetterHandler>>,
    seed: Option<u64>,
}

impl Default for SinkBuilder {
    fn default() -> Self {
        Self::from(Settings::default())
    }
}

impl From<Settings> for SinkBuilder {
    fn from(settings: Settings) -> Self {
        Self {
            settings,
            stream_info: None,
            classify: Arc::new(DefaultClassify),
            dead_letters: None,
            seed: None,
        }
    }
}

impl SinkBuilder {
    /// Replaces all settings that are data, for example by those from a configuration file.
    ///
    /// Call it first, or start with `SinkBuilder::from(settings)`: setters called later override single settings,
    /// and the settings made by setters called earlier are lost, except for the classifier, the dead-letter
    /// handler, the stream info and the seed.
    pub fn with_settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Sets the limits of a request, of a record and of the rate per shard. [`Limits`] has the defaults and ranges.
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.settings.limits = limits;
        self
    }

    /// Sets how many requests may be in flight at once: 1 to 1,000, by default 4.
    ///
    /// At a round trip of 20 ms, four requests of 500 records send 100,000 records a second. After a request failed
    /// as a whole or was shed, the sink sends one request at a time, as a probe, until one succeeds.
    pub fn with_max_in_flight(mut self, requests: usize) -> Self {
        self.settings.max_in_flight = requests;
        self
    }

    /// Sets when a flush may send a request that is not full, see [`Linger`]: 0 to 60 s. The default is
    /// [`SelfClocked`](Linger::SelfClocked) with 100 ms, with aggregation [`Fill`](Linger::Fill) with 100 ms.
    pub fn with_linger(mut self, linger: Linger) -> Self {
        self.settings.linger = Some(linger);
        self
    }

    /// Packs several records into one Kinesis record, see [`Aggregation`]. Default: [`Off`](Aggregation::Off).
    ///
    /// Aggregation changes three defaults: the [linger](Self::with_linger) is [`Fill`](Linger::Fill), the
    /// [buffer](Self::with_buffer_records) holds 100,000 records, and a sink made by
    /// [`build`](Self::build) has the stream [described](Self::with_stream_info) before it sends
    /// anything.
    ///
    /// ```
    /// use kinesis_sink::{Aggregation, KinesisSink};
    ///
    /// # fn run(client: aws_sdk_kinesis::Client) -> Result<(), kinesis_sink::BuildError> {
    /// let sink = KinesisSink::builder()
    ///     .with_aggregation(Aggregation::PerShard)
    ///     .with_aggregate_units(4)
    ///     .build(&client, "example")?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_aggregation(mut self, aggregation: Aggregation) -> Self {
        self.settings.aggregation = aggregation;
        self
    }

    /// Sets the maximum size of an aggregate in PUT payload units of 25 KiB, partition key included: 1 to 409, by
    /// default 2, which is 51,200 bytes. An aggregate is also no larger than a record
    /// [may be](Limits::with_record_bytes). A record that is larger than an aggregate is sent without aggregation.
    ///
    /// Provisioned streams bill each Kinesis record in whole units, so a maximum just over one unit would cost
    /// two. A record is never split to fill an aggregate: on average half a record's size stays free at
    /// its end. Of 1 KiB records 24 fit into one unit and 49 into two, so that 96 and 98 % of the billed bytes
    /// are data; of 9 KiB records 2 and 5 (72 and 90 %). More than two units gain little for small records,
    /// and more bytes are sent again after a throttle. On-demand streams round up to 1 KiB,
    /// 2 % of the default at most. Two units are also the KPL's default (`AggregationMaxSize`).
    pub fn with_aggregate_units(self, units: usize) -> Self {
        self.with_aggregate_bytes(units.saturating_mul(PAYLOAD_UNIT_BYTES))
    }

    /// Sets the maximum size of an aggregate in bytes, partition key included: 1 B to 10 MiB, by default 51,200. See
    /// [`with_aggregate_units`](Self::with_aggregate_units), which sets the same.
    pub fn with_aggregate_bytes(mut self, bytes: usize) -> Self {
        self.settings.aggregate_bytes = bytes;
        self
    }

    /// Sets the maximum number of records in an aggregate: 1 to 4,294,967,295, which is the default, as in the
    /// KPL, and in effect no limit.
    pub fn with_aggregate_records(mut self, records: usize) -> Self {
        self.settings.aggregate_records = records;
        self
    }

    /// Sets the partition key of aggregates, see [`AggregateKey`]. Default: that of the first member.
    pub fn with_aggregate_key(mut self, key: AggregateKey) -> Self {
        self.settings.aggregate_key = key;
        self
    }

    /// Sets the order in which consumers read the records of a partition key, see [`RecordOrdering`]. Default:
    /// [`Unordered`](RecordOrdering::Unordered).
    ///
    /// ```
    /// use kinesis_sink::{KinesisSink, RecordOrdering};
    ///
    /// # fn run(client: aws_sdk_kinesis::Client) -> Result<(), kinesis_sink::BuildError> {
    /// let sink = KinesisSink::builder().with_ordering(RecordOrdering::PerKey).build(&client, "example")?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_ordering(mut self, ordering: RecordOrdering) -> Self {
        self.settings.ordering = ordering;
        self
    }

    /// Sets the source of the stream's description and of its shards.
    ///
    /// By default a sink made by [`build`](Self::build) asks the service, with [`SdkStreamInfo`]: for both if it
    /// aggregates, for the description alone if it only keeps an [order](Self::with_ordering), for neither otherwise.
    /// A source that is set here is asked first, and the service for what that source
    /// [does not answer](StreamInfo). A sink made by [`build_with`](Self::build_with) asks only the source that is
    /// set here.
    ///
    /// The sink makes one call of a kind at a time, with a timeout of 10 s. A panic of the source counts as an error.
    ///
    /// # Description
    ///
    /// The stream is described before anything is sent, which takes the permission
    /// `kinesis:DescribeStreamSummary`. Until then a sink accepts no records, and a producer only records that every
    /// stream accepts, of up to 1 MiB.
    ///
    /// - A stream that [distributes its records itself](crate::Distribution::Auto) is refused if the sink
    ///   aggregates or keeps an order. A stream that does not exist is reported at once. Both are a
    ///   [`SinkError::Request`](crate::SinkError::Request).
    /// - Since a stream can be switched at any time, it is described again,
    ///   [past any cache](StreamInfo::describe_stream_uncached), when responses name shards that partition keys
    ///   rule out.
    /// - The stream's limit for a record becomes the sink's, unless a lower one was [set](Limits::with_record_bytes). A
    ///   record that is larger than the limit of a request is sent alone.
    /// - If the stream cannot be described, the sink logs one line at INFO and uses its settings. It makes up to five
    ///   attempts if the error may be transient, and retries errors of credentials for the
    ///   [credentials timeout](Self::with_credentials_timeout).
    ///
    /// # Shards
    ///
    /// The shards are listed at first use, and again when a response contradicts the list, which takes the permission
    /// `kinesis:ListShards`. Failed lists are retried with a backoff of up to a minute.
    ///
    /// - [`Aggregation::PerShard`] needs a list and waits for the first one before it sends. With
    ///   [`build_with`](Self::build_with) it needs a source; with a source that has no lists, the sink aggregates per
    ///   key and logs a warning.
    /// - [`Aggregation::PerKey`] checks the shards of its aggregates against the list, and works without one.
    /// - A sink that does not aggregate learns the shards from responses; with a list it knows them from the first
    ///   record on.
    ///
    /// ```
    /// use kinesis_sink::{KinesisSink, StreamDescription, describe_stream_fn};
    ///
    /// # fn run(client: aws_sdk_kinesis::Client) -> Result<(), kinesis_sink::BuildError> {
    /// let ten_mib = StreamDescription::default().with_max_record_bytes(10 * 1024 * 1024);
    /// let sink = KinesisSink::builder()
    ///     .with_stream_info(describe_stream_fn(move |_| async move { Ok(ten_mib) }))
    ///     .build(&client, "example")?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_stream_info(mut self, stream_info: impl StreamInfo + 'static) -> Self {
        self.stream_info = Some(Arc::new(stream_info));
        self
    }

    /// Never describes the stream, for a role without the permission. A sink that aggregates or keeps an order then
    /// also sends to a stream that distributes its records itself. There it keeps no order, and with a
    /// [list of shards](Self::with_stream_info) it sends the records of misplaced aggregates again without
    /// aggregation.
    pub fn without_describe_stream(mut self) -> Self {
        self.settings.describe_stream = false;
        self
    }

    /// Sets how many records the sink may hold before its source waits, those in flight and the failed
    /// ones that it keeps included: 1 to 100,000,000, by default 10,000, with aggregation 100,000.
    ///
    /// In addition to its payload, which [`with_buffer_bytes`](Self::with_buffer_bytes) bounds, a record uses
    /// some 160 bytes of memory, with aggregation 200 to 600, the most if two or three records of each
    /// key are buffered (measured on a 64-bit target).
    pub fn with_buffer_records(mut self, records: usize) -> Self {
        self.settings.buffer_records = Some(records);
        self
    }

    /// Sets how many bytes (data and partition keys) the sink may hold before its source waits, those
    /// in flight included: 1 B to 1 TiB (on 32-bit targets 2 GiB), by default 32 MiB. The record that
    /// crosses the bound is still accepted.
    pub fn with_buffer_bytes(mut self, bytes: usize) -> Self {
        self.settings.buffer_bytes = bytes;
        self
    }

    /// Sets the backoff after failures: the wait is drawn evenly from 0 to `base`, which doubles with each
    /// consecutive failure up to `ceiling`. By default 100 ms and 3 s; both 1 ms to 60 s, `base` at most `ceiling`.
    pub fn with_backoff(mut self, base: Duration, ceiling: Duration) -> Self {
        self.settings.backoff = BackoffSettings { base, ceiling };
        self
    }

    /// Fails a record after this many attempts: 1 or more. By default there is no limit.
    ///
    /// [`Undelivered::attempts`](crate::Undelivered::attempts) says what counts as an attempt.
    pub fn with_max_attempts(mut self, attempts: u32) -> Self {
        self.settings.max_attempts = Some(attempts);
        self
    }

    /// Fails a record that is still buffered this long after it was accepted: 1 ms to 7 days. By
    /// default there is no deadline. A record in flight at that moment fails only if the attempt
    /// fails.
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.settings.deadline = Some(deadline);
        self
    }

    /// Sets how long requests and lookups are retried, with backoff, while the credentials cannot be
    /// loaded or are refused ([`ErrorClass::Credentials`](crate::service::ErrorClass::Credentials)): 0 s to
    /// 7 days, by default 5 minutes. Afterwards the error is [reported](crate::SinkError::Request) like a
    /// fatal one; the records stay in the sink.
    ///
    /// The time starts with the first such failure and ends with an answer that shows that the credentials
    /// were accepted: a delivery, a throttle, a record refused as invalid. The time between two failures
    /// counts for a minute at most, so that a process that was suspended does not fail at its first
    /// request.
    ///
    /// The timeout applies as well to answers with HTTP 4xx and no error code
    /// ([`ErrorClass::Blocked`](crate::service::ErrorClass::Blocked)), counted while no request succeeds. A record
    /// that fails alone on a stream that has taken others does not count.
    ///
    /// The default is longer than the usual outage of STS, of the instance metadata service or of a
    /// credentials agent, and longer than a refresh of the SDK with all its attempts. It is short enough
    /// that a deleted or revoked role is reported within minutes. Set less for short-lived jobs; with
    /// 0 s the first failure is reported.
    pub fn with_credentials_timeout(mut self, timeout: Duration) -> Self {
        self.settings.credentials_timeout = timeout;
        self
    }

    /// Sets the timeout of a request in the stack that [`build`](Self::build) makes: 1 ms to 10 minutes,
    /// by default 10 s. See [`timeout`](crate::timeout).
    pub fn with_request_timeout(mut self, timeout: Duration) -> Self {
        self.settings.request_timeout = timeout;
        self
    }

    /// Sets the longest timeout of a request in the stack that [`build`](Self::build) makes, which applies while
    /// requests time out repeatedly: 1 ms to 10 minutes, by default 30 s. If the
    /// [request timeout](Self::with_request_timeout) is longer, all requests get that.
    ///
    /// When the same records time out repeatedly, the timeout of the next request doubles up to this maximum,
    /// and requests get smaller. So a stream that responds late, or over a slow link, makes progress and gets
    /// few duplicates. Fast responses restore the timeout. The maximum also bounds how long a request waits for
    /// a response that the network has silently dropped, and so how late the sink notices that the stream can be
    /// reached again.
    pub fn with_max_request_timeout(mut self, timeout: Duration) -> Self {
        self.settings.max_request_timeout = timeout;
        self
    }

    /// Sets the classification of errors, see [`Classify`]. Default: [`DefaultClassify`].
    pub fn with_classify(mut self, classify: impl Classify + 'static) -> Self {
        self.classify = Arc::new(classify);
        self
    }

    /// Sets the handler of records that failed for good. By default the sink keeps them and reports an
    /// error.
    ///
    /// A closure needs its parameter's type: `|lost: Undelivered| ..`.
    pub fn with_dead_letters(mut self, dead_letters: impl DeadLetterHandler + 'static) -> Self {
        self.dead_letters = Some(Box::new(dead_letters));
        self
    }

    /// Sets what a [`Producer`](crate::Producer) made of the sink does when the service refuses every
    /// request. Default: [`FatalPolicy::Stop`]. A sink by itself reports the error to its owner, who decides.
    pub fn with_fatal_policy(mut self, policy: FatalPolicy) -> Self {
        self.settings.fatal_policy = policy;
        self
    }

    /// Sets which metrics the sink records, see [`metrics`](crate::metrics). Default:
    /// [`Shard`](MetricsGranularity::Shard). The metrics are registered with the
    /// recorder that is installed when the sink is built.
    #[cfg(feature = "metrics")]
    pub fn with_metrics(mut self, granularity: MetricsGranularity) -> Self {
        self.settings.metrics = granularity;
        self
    }

    /// Sets the seed of random partition keys and of jitter, for repeatable tests. By default it is random.
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
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
        let Settings { request_timeout, max_request_timeout, .. } = self.settings;
        let timeout = TimeoutLayer::new(request_timeout).with_max(max_request_timeout);
        let stream: StreamId = stream.as_ref().parse()?;
        // An empty AWS_REGION comes out as a region without a name.
        let region = client.config().region().map_or("", |region| region.as_ref());
        if region.is_empty() {
            return Err(BuildError::NoRegion);
        }
        stream.check_region(Some(region))?;
        let stack = ServiceBuilder::new().trace_put_records();
        #[cfg(feature = "metrics")]
        let stack = stack.metrics_put_records();
        let service = stack
            .layer(timeout)
            .service(PutRecords::new(client).without_stalled_stream_protection());
        let service = Readiness::shared(BoxCloneSyncService::new(service));
        self.with_sdk_stream_info(client).assemble(service, stream)
    }

    /// Builds a sink with the default stack, with the region and credentials of the environment:
    /// variables, profile, container or instance role, as `aws-config` finds them. An ARN's region goes
    /// before the environment's.
    ///
    /// Needs the feature `aws-config`, which is on by default.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build). Missing credentials show at the first request, as
    /// [`SinkError::Request`](crate::SinkError::Request).
    ///
    /// # Cancel safety
    ///
    /// Nothing is sent before it returns; dropping it changes nothing.
    #[cfg(feature = "aws-config")]
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
    /// The sink polls the stack for readiness only when a request is due, and calls it as soon as it is ready. The
    /// stack should limit the time of a request, as [`TimeoutLayer`] does: the sink waits for every answer.
    ///
    /// Sinks can share a stack: give each one a clone, and a limit in the stack, such as tower's
    /// `ConcurrencyLimit`, applies to all of them. While the stack is not
    /// ready, a clone of it keeps the sink's place in the queue, in a task of the runtime that polled the sink.
    /// The sink gives the place up when it has nothing to send: when its records have expired or were taken
    /// back, or when it is dropped. It also loses the place if it is not polled within a second after the stack
    /// has become ready, and asks again at its next poll. For a stack that is not `Clone`, use
    /// [`build_with_unshared`](Self::build_with_unshared).
    ///
    /// After an error or a panic of its `poll_ready` the sink uses a fresh clone.
    ///
    /// There is no client to ask about the stream. With aggregation or [ordering](Self::with_ordering) set a
    /// [source](Self::with_stream_info) that describes it, unless the stream is known not to distribute its records
    /// itself. With [`Aggregation::PerShard`] a source that lists the shards is required, and with
    /// [`Aggregation::PerKey`] it lets the sink check its aggregates.
    ///
    /// # Errors
    ///
    /// A setting is out of range, `stream` is neither a name nor an ARN, or [`Aggregation::PerShard`] has no source.
    pub fn build_with<S>(
        self,
        service: S,
        stream: impl AsRef<str>,
    ) -> Result<KinesisSink<S>, BuildError>
    where
        S: Service<PutRecordsRequest, Response = PutRecordsResponse, Error: Into<BoxError>>,
        S: Clone + Send + 'static,
    {
        self.assemble(Readiness::shared(service), stream.as_ref().parse()?)
    }

    /// Builds a sink over a stack of services that is not `Clone`, such as one with a
    /// `RateLimit` that no [`Buffer`](tower::buffer::Buffer) makes cloneable.
    /// Everything else is as with [`build_with`](Self::build_with).
    ///
    /// The only instance keeps its place in a queue, and a permit that it was given, until the next request or
    /// until the sink is dropped. If other users share a limit inside the stack,
    /// a sink that has nothing to send, or that is not polled, can keep a permit from them. Put a
    /// [`Buffer`](tower::buffer::Buffer) around such a stack and use [`build_with`](Self::build_with).
    ///
    /// # Errors
    ///
    /// As [`build_with`](Self::build_with).
    pub fn build_with_unshared<S>(
        self,
        service: S,
        stream: impl AsRef<str>,
    ) -> Result<KinesisSink<S>, BuildError> {
        self.assemble(Readiness::unshared(service), stream.as_ref().parse()?)
    }

    /// Adds the service as a source, for what the settings need and the source that was set does not answer.
    fn with_sdk_stream_info(mut self, client: &Client) -> Self {
        let aggregates = self.settings.is_aggregating();
        let is_ordered = self.settings.ordering == RecordOrdering::PerKey;
        let is_needed = aggregates || (is_ordered && self.settings.describe_stream);
        if !is_needed {
            return self;
        }
        let mut sdk = SdkStreamInfo::new(client).without_stalled_stream_protection();
        if !aggregates {
            sdk = sdk.without_list_shards();
        }
        self.stream_info = Some(match self.stream_info {
            Some(source) => Arc::new((source, sdk)),
            None => Arc::new(sdk),
        });
        self
    }

    fn assemble<S>(
        self,
        service: Readiness<S>,
        stream: StreamId,
    ) -> Result<KinesisSink<S>, BuildError> {
        let Self { settings, stream_info, classify, dead_letters, seed } = self;
        settings.validate()?;
        // For pacing alone the sink does not wait for a list: it learns the same from responses.
        let shards = settings.aggregation == Aggregation::PerShard;
        if shards && stream_info.is_none() {
            return Err(BuildError::NoListShards);
        }
        let lists_shards = stream_info.is_some();
        let discovery = Discovery::new(stream_info, settings.describe_stream);
        #[cfg(feature = "metrics")]
        let metrics =
            (settings.metrics != MetricsGranularity::Off).then(|| SinkMetrics::new(stream.name()));
        let mut pipeline = Pipeline::new(stream, settings, lists_shards, classify, seed);
        let description = discovery.describes();
        pipeline.topology_mut().require(Prerequisites { description, shards });
        Ok(KinesisSink {
            service,
            pipeline,
            requests: Requests::default(),
            discovery,
            timer: None,
            dead_letters,
            drive_skip: DriveSkip::default(),
            closed: false,
            is_driven: false,
            #[cfg(feature = "metrics")]
            metrics,
        })
    }
}

impl fmt::Debug for SinkBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // With the defaults that depend on others, so that it shows the settings in effect.
        let settings = Settings {
            linger: Some(self.settings.linger()),
            buffer_records: Some(self.settings.buffer_records()),
            ..self.settings.clone()
        };
        f.debug_struct("SinkBuilder")
            .field("settings", &settings)
            .field("stream_info", &self.stream_info.is_some())
            .field("dead_letters", &self.dead_letters.is_some())
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}
