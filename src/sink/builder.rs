use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Layer};
use tracing::warn;

use super::KinesisSink;
use super::core::Core;
use super::discovery::Discovery;
use super::drive_skip::DriveSkip;
use super::membership::Membership;
use super::readiness::Readiness;
use super::requests::Requests;
use crate::budget::Budget;
use crate::build_error::BuildError;
#[cfg(feature = "aws-config")]
use crate::error::Error;
#[cfg(all(feature = "metrics", feature = "spool"))]
use crate::metrics::SpoolMetrics;
#[cfg(feature = "metrics")]
use crate::metrics::{MetricsGranularity, SinkMetrics, StreamLabel, StreamLabels};
use crate::pipeline::{Aggregation, Linger, Pipeline, Prerequisites, RecordOrdering};
use crate::record::{DeadLetterHandler, SharedHandler, Undelivered};
#[cfg(feature = "aws-config")]
use crate::service::environment;
use crate::service::{
    Classify, ClientStack, DefaultClassify, PutRecordsRequest, PutRecordsResponse,
    PutRecordsService, SharedClient, StreamCheck,
};
use crate::settings::Settings;
#[cfg(feature = "spool")]
use crate::spool::{self, Spool, WhenFull};
use crate::status::ConditionSender;
use crate::stream::{StreamId, StreamInfo};
use crate::trace::TARGET;

/// Default service stack of a sink: layers for tracing, metrics (feature `metrics`) and timeouts around the SDK call.
///
/// The stack is boxed, so that its type is the same for all combinations of features.
pub type DefaultService = BoxCloneSyncService<PutRecordsRequest, PutRecordsResponse, BoxError>;

/// Builder for a [`KinesisSink`].
///
/// Every setting has a default. [`Settings`] documents the defaults and ranges, and can be deserialized from a
/// configuration file. The builder has setters for the most common settings. Use [`configure`](Self::configure) to
/// change any other setting.
///
/// ```
/// use std::time::Duration;
/// use kinesis_sink::limits::Limits;
/// use kinesis_sink::KinesisSink;
///
/// # fn run(client: aws_sdk_kinesis::Client) -> Result<(), kinesis_sink::BuildError> {
/// let sink = KinesisSink::builder("example")
///     .with_max_in_flight(8)
///     .with_deadline(Duration::from_secs(3600))
///     .with_dead_letters(|undelivered| eprintln!("{}", undelivered.reason()))
///     .configure(|settings| {
///         settings.limits = Limits::default().with_request_bytes(10 * 1024 * 1024);
///         settings.buffer_bytes = 128 * 1024 * 1024;
///     })
///     .build(&client)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "a builder does nothing until a `build` method is called"]
pub struct SinkBuilder {
    stream: Result<StreamId, BuildError>,
    /// Shared with the sink, and by the streams of a router.
    settings: Arc<Settings>,
    stream_info: Option<Arc<dyn StreamInfo>>,
    classify: Arc<dyn Classify>,
    dead_letters: Option<SharedHandler>,
    budget: Option<Budget>,
    #[cfg(feature = "metrics")]
    stream_labels: Option<StreamLabels>,
}

impl SinkBuilder {
    pub(super) fn new<T>(stream: T) -> Self
    where
        T: TryInto<StreamId, Error: Into<BuildError>>,
    {
        Self {
            stream: stream.try_into().map_err(Into::into),
            settings: Arc::default(),
            stream_info: None,
            classify: Arc::new(DefaultClassify),
            dead_letters: None,
            budget: None,
            #[cfg(feature = "metrics")]
            stream_labels: None,
        }
    }

    pub(crate) fn with_stream(mut self, stream: StreamId) -> Self {
        self.stream = Ok(stream);
        self
    }

    /// Replaces all [settings](Settings), for example with settings from a configuration file.
    ///
    /// Call this method before the other setters, because it overwrites their values. It does not replace the
    /// classifier, the dead-letter handler or the source of stream information, which are not part of the settings.
    pub fn with_settings(mut self, settings: Settings) -> Self {
        self.settings = Arc::new(settings);
        self
    }

    pub(crate) fn with_shared_settings(mut self, settings: Arc<Settings>) -> Self {
        self.settings = settings;
        self
    }

    fn settings_mut(&mut self) -> &mut Settings {
        Arc::make_mut(&mut self.settings)
    }

    /// Changes individual [settings](Settings), including those without a setter.
    ///
    /// ```
    /// use kinesis_sink::KinesisSink;
    ///
    /// # fn run(client: aws_sdk_kinesis::Client) -> Result<(), kinesis_sink::BuildError> {
    /// let sink = KinesisSink::builder("example")
    ///     .configure(|settings| settings.buffer_bytes = 128 * 1024 * 1024)
    ///     .build(&client)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn configure(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(self.settings_mut());
        self
    }

    /// Sets the maximum number of requests in flight: 1 to 1,000. Default: 4.
    ///
    /// With a round-trip time of 20 ms, four requests in flight with 500 records each send 100,000 records per second.
    /// After a request fails as a whole or is shed by a layer, the sink sends one request at a time until one succeeds.
    pub fn with_max_in_flight(mut self, requests: usize) -> Self {
        self.settings_mut().max_in_flight = requests;
        self
    }

    /// Sets how long a partial request can wait for more records: 0 s to 60 s. Default: 100 ms.
    ///
    /// See [`Linger`] for the available modes. Passing a [`Duration`] selects the default mode, [`Linger::Auto`].
    pub fn with_linger(mut self, linger: impl Into<Linger>) -> Self {
        self.settings_mut().linger = linger.into();
        self
    }

    /// Sets whether and how several records are packed into one Kinesis record. Default: [`Aggregation::Off`].
    ///
    /// See [`Aggregation`] for the available modes. Aggregation changes three defaults: the [linger](Self::with_linger)
    /// mode is [`Fixed`](Linger::Fixed), the [buffer](Settings::buffer_records) has a capacity of 100,000 records, and
    /// a sink built with [`build`](Self::build) [describes the stream](Self::with_stream_info) before it sends a
    /// request.
    ///
    /// ```
    /// use kinesis_sink::{Aggregation, KinesisSink};
    ///
    /// # fn run(client: aws_sdk_kinesis::Client) -> Result<(), kinesis_sink::BuildError> {
    /// let sink = KinesisSink::builder("example")
    ///     .with_aggregation(Aggregation::PerShard)
    ///     .configure(|settings| settings.aggregate_bytes = 4 * 25 * 1024)
    ///     .build(&client)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_aggregation(mut self, aggregation: Aggregation) -> Self {
        self.settings_mut().aggregation = aggregation;
        self
    }

    /// Sets whether records with the same partition key are delivered in order. Default: [`RecordOrdering::Unordered`].
    ///
    /// See [`RecordOrdering`] for the available modes.
    ///
    /// ```
    /// use kinesis_sink::{KinesisSink, RecordOrdering};
    ///
    /// # fn run(client: aws_sdk_kinesis::Client) -> Result<(), kinesis_sink::BuildError> {
    /// let sink = KinesisSink::builder("example").with_ordering(RecordOrdering::PerKey).build(&client)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_ordering(mut self, ordering: RecordOrdering) -> Self {
        self.settings_mut().ordering = ordering;
        self
    }

    /// Sets the source of the stream description and the shard list.
    ///
    /// By default, a sink built with [`build`](Self::build) calls the service through
    /// [`SdkStreamInfo`](crate::service::SdkStreamInfo). With aggregation, it requests the description and the shard list.
    /// With [ordering](Self::with_ordering) alone, it requests only the description. Otherwise it requests neither.
    ///
    /// A source set with this method takes precedence: the sink then calls the service only for information that the
    /// source [does not provide](StreamInfo). A sink built with [`build_with`](Self::build_with) has no client, so it
    /// uses only the source set with this method.
    ///
    /// The sink makes at most one call of each kind at a time, with a timeout of 10 s. A panic in the source is handled
    /// like an error.
    ///
    /// # Description
    ///
    /// The sink describes the stream before it sends any record. This requires the permission
    /// `kinesis:DescribeStreamSummary`. While the description is pending, the sink accepts no records. A producer
    /// accepts records of up to 1 MiB during this time, because every stream accepts this size.
    ///
    /// - If aggregation or ordering is enabled and the stream
    ///   [distributes its records itself](crate::stream::Distribution::Auto), the sink returns
    ///   [`ErrorKind::Refused`](crate::ErrorKind::Refused). It returns the same kind immediately if the stream does not
    ///   exist.
    /// - The distribution of a stream can change at any time. If the shards in a response do not match the partition
    ///   keys of the request, the sink describes the stream again,
    ///   [bypassing any cache](StreamInfo::describe_stream_uncached).
    /// - The record size limit of the stream becomes the limit of the sink, unless a lower limit was
    ///   [set](crate::limits::Limits::with_record_bytes). A record that is larger than the request size limit is sent
    ///   in a separate request.
    /// - If the stream cannot be described, the sink logs one line at INFO and uses the configured limits. If the error
    ///   can be transient, the sink first makes up to five attempts. It retries credential errors until the
    ///   [credentials timeout](Settings::credentials_timeout) has elapsed, and then reports them.
    ///
    /// # Shards
    ///
    /// The sink lists the shards when it first needs the list, and again when a response contradicts the list. This
    /// requires the permission `kinesis:ListShards`. Failed calls are retried with a backoff of up to one minute.
    ///
    /// - [`Aggregation::PerShard`] requires the shard list, so the sink sends no record before it has received the
    ///   list. With [`build_with`](Self::build_with), the caller must set a source. If the source does not provide
    ///   lists, the sink aggregates per key and logs a warning.
    /// - [`Aggregation::PerKey`] does not require the shard list. If a list is available, the sink uses it to check
    ///   that aggregates are written to the right shards.
    /// - Without aggregation, the sink learns the shards from responses. If a source provides the list, the sink knows
    ///   the shards from the start.
    ///
    /// ```
    /// use kinesis_sink::stream::{StreamDescription, describe_stream_fn};
    /// use kinesis_sink::KinesisSink;
    ///
    /// # fn run(client: aws_sdk_kinesis::Client) -> Result<(), kinesis_sink::BuildError> {
    /// let ten_mib = StreamDescription::default().with_max_record_bytes(10 * 1024 * 1024);
    /// let sink = KinesisSink::builder("example")
    ///     .with_stream_info(describe_stream_fn(move |_| async move { Ok(ten_mib) }))
    ///     .build(&client)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_stream_info(mut self, stream_info: impl StreamInfo + 'static) -> Self {
        self.stream_info = Some(Arc::new(stream_info));
        self
    }

    /// Sets the time within which an accepted record must be delivered: 1 ms to 7 days. Default: no deadline.
    ///
    /// A record that is not delivered in time fails with
    /// [`FailureReason::DeadlineExceeded`](crate::record::FailureReason::DeadlineExceeded). If a record is in flight
    /// when its deadline passes, the record fails only if this attempt fails.
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.settings_mut().deadline = Some(deadline);
        self
    }

    /// Sets how errors are classified, for example as transient or fatal. Default: [`DefaultClassify`].
    ///
    /// See [`Classify`].
    pub fn with_classify(mut self, classify: impl Classify + 'static) -> Self {
        self.classify = Arc::new(classify);
        self
    }

    /// Sets a closure that handles permanently failed records. Default: the sink keeps them and returns an error.
    ///
    /// The sink calls the closure in its poll methods, so the closure must not block. The closure does not receive
    /// records with a receipt, because the receipt returns them. To send the records to a channel, or to let the
    /// handler return records to the sink, use [`with_dead_letter_handler`](Self::with_dead_letter_handler).
    ///
    /// ```
    /// use kinesis_sink::KinesisSink;
    ///
    /// let builder = KinesisSink::builder("example")
    ///     .with_dead_letters(|undelivered| eprintln!("record failed: {}", undelivered.reason()));
    /// ```
    pub fn with_dead_letters(self, handler: impl FnMut(Undelivered) + Send + 'static) -> Self {
        self.with_dead_letter_handler(handler)
    }

    /// Sets the handler for permanently failed records. The handler can be a channel sender or any type that implements
    /// [`DeadLetterHandler`].
    ///
    /// All sinks built from clones of this builder share the handler.
    pub fn with_dead_letter_handler(mut self, handler: impl DeadLetterHandler + 'static) -> Self {
        self.dead_letters = Some(SharedHandler::new(handler));
        self
    }

    /// Adds the sink to a [budget](Budget), which it shares with all other sinks and producers that are built with it.
    ///
    /// The bounds of the budget apply in addition to those of the sink. If failed records that have not been taken use up
    /// the sink's share of it, `poll_ready` returns [`ErrorKind::Undelivered`](crate::ErrorKind::Undelivered).
    pub fn with_budget(mut self, budget: &Budget) -> Self {
        self.budget = Some(budget.clone());
        self
    }

    /// Adds a durable [spool](crate::spool) to the sink. Default: none.
    ///
    /// The sink must be converted into a [producer](crate::Producer). If it is used without one, it returns
    /// [`ErrorKind::NeedsProducer`](crate::ErrorKind::NeedsProducer).
    ///
    /// The `build` methods start a thread that opens the spool, and wait until it is open. They read the index of the
    /// spool, but not its records, unless the spool is [strict](Spool::strict). If the directory is in use, they try
    /// again for up to 1 s, because a producer that was dropped needs a moment to release it.
    ///
    /// Requires the feature `spool`.
    #[cfg(feature = "spool")]
    pub fn with_spool(mut self, spool: Spool) -> Self {
        self.settings_mut().spool = Some(spool);
        self
    }

    /// Sets the labels of the streams in metrics. Default: each stream is labeled with its name.
    #[cfg(feature = "metrics")]
    pub(crate) fn with_stream_labels(mut self, labels: &StreamLabels) -> Self {
        self.stream_labels = Some(labels.clone());
        self
    }

    /// Builds a sink that uses an AWS SDK client and the [default service stack](DefaultService).
    ///
    /// The sink uses a copy of `client` with retries disabled, because the sink retries requests itself.
    ///
    /// # Errors
    ///
    /// Returns
    ///
    /// - [`BuildError::Stream`] if the stream is neither a name nor an ARN;
    /// - [`BuildError::NoRegion`] if the client has no region, or [`BuildError::Region`] if the region of the ARN
    ///   differs from the client's;
    /// - [`BuildError::OutOfRange`] or [`BuildError::Conflict`] if a setting is invalid.
    pub fn build(self, client: &Client) -> Result<KinesisSink, BuildError> {
        self.build_default(client, |service| service)
    }

    /// Builds a sink like [`build`](Self::build), and wraps the default service stack with `layer`.
    ///
    /// The layer receives each request before the tracing, metrics and timeout layers.
    ///
    /// ```
    /// use kinesis_sink::KinesisSink;
    /// use tower::limit::ConcurrencyLimitLayer;
    ///
    /// # fn run(client: aws_sdk_kinesis::Client) -> Result<(), kinesis_sink::BuildError> {
    /// let sink = KinesisSink::builder("example")
    ///     .build_with_layer(&client, ConcurrencyLimitLayer::new(2))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error in the same cases as [`build`](Self::build).
    pub fn build_with_layer<L>(
        self,
        client: &Client,
        layer: L,
    ) -> Result<KinesisSink<L::Service>, BuildError>
    where
        L: Layer<DefaultService>,
        L::Service: PutRecordsService + Clone + Send + 'static,
    {
        self.build_default(client, |service| layer.layer(service))
    }

    fn build_default<S>(
        self,
        client: &Client,
        wrap: impl FnOnce(DefaultService) -> S,
    ) -> Result<KinesisSink<S>, BuildError>
    where
        S: PutRecordsService + Clone + Send + 'static,
    {
        self.stream.clone()?;
        let client = Arc::new(SharedClient::new(client)?);
        self.build_shared(&client, |service| wrap(BoxCloneSyncService::new(service)))
    }

    /// Builds a sink with a client that other sinks share. `wrap` wraps the default service stack.
    pub(crate) fn build_shared<S>(
        self,
        client: &Arc<SharedClient>,
        wrap: impl FnOnce(ClientStack) -> S,
    ) -> Result<KinesisSink<S>, BuildError>
    where
        S: PutRecordsService + Clone + Send + 'static,
    {
        let stream = self.stream.clone()?;
        client.check_region(&stream)?;
        let check = StreamCheck::new(client.put_records(), stream);
        let service = ClientStack::new(client.clone(), self.settings.clone());
        let service = Readiness::shared(wrap(service));
        self.with_sdk_stream_info(client).assemble(service, Some(check))
    }

    /// Builds a sink with the region and credentials from the environment, and [checks](KinesisSink::check) the stream.
    ///
    /// If the program must be able to start while the service or the credentials are unavailable, use
    /// [`build`](Self::build), which does no I/O.
    ///
    /// Requires the feature `aws-config`, which is enabled by default.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Build`](crate::ErrorKind::Build) in the cases in which [`build`](Self::build) returns an
    /// error, and [`ErrorKind::Unusable`](crate::ErrorKind::Unusable) if the check fails.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    #[cfg(feature = "aws-config")]
    pub async fn build_from_env(self) -> Result<KinesisSink, Error> {
        let stream = self.stream.clone()?;
        environment::warn_of_ignored_ca_bundle(environment::process_variable);
        let mut environment = aws_config::defaults(aws_config::BehaviorVersion::latest());
        if let Some(region) = stream.region() {
            environment = environment.region(aws_config::Region::new(region.to_owned()));
        }
        let sink = self.build(&Client::new(&environment.load().await))?;
        sink.check().await?;
        Ok(sink)
    }

    /// Builds a sink that uses a custom service stack. The innermost service can be
    /// [`PutRecords`](crate::service::PutRecords) or a custom service.
    ///
    /// [`ServiceBuilderExt`](crate::service::ServiceBuilderExt) adds this crate's layers to a stack.
    ///
    /// The sink polls the stack for readiness only when it has a request to send, and calls the stack as soon as it is
    /// ready. The sink waits for every response without a timeout, so the stack should contain a
    /// [`TimeoutLayer`](crate::timeout::TimeoutLayer) or another timeout.
    ///
    /// Several sinks can share a stack if each sink is built with a clone. A limit in the stack, such as tower's
    /// `ConcurrencyLimit`, then applies to all of these sinks. While the stack is not ready, a task in the runtime that
    /// polled the sink waits in the queue of the limit on behalf of the sink. The sink releases its place in the queue
    /// when it has nothing to send and when it is dropped. It also loses its place if it is not polled within 1 s after
    /// the stack has become ready; it then enters the queue again when it is polled. For a stack that is not `Clone`,
    /// use [`build_with_unshared`](Self::build_with_unshared).
    ///
    /// If `poll_ready` of the stack fails or panics, the sink replaces the stack with a fresh clone.
    ///
    /// The sink has no client, so it cannot describe the stream or list its shards by itself. With aggregation or
    /// [ordering](Self::with_ordering), set a [source](Self::with_stream_info) that describes the stream, unless you
    /// know that the stream does not distribute its records itself. [`Aggregation::PerShard`] requires a source that
    /// lists the shards. With [`Aggregation::PerKey`], the sink uses the shard list to check its aggregates.
    ///
    /// # Errors
    ///
    /// Returns
    ///
    /// - [`BuildError::Stream`] if the stream is neither a name nor an ARN;
    /// - [`BuildError::OutOfRange`] or [`BuildError::Conflict`] if a setting is invalid;
    /// - [`BuildError::NoListShards`] if [`Aggregation::PerShard`] is set without a source.
    pub fn build_with<S>(self, service: S) -> Result<KinesisSink<S>, BuildError>
    where
        S: PutRecordsService + Clone + Send + 'static,
    {
        self.assemble(Readiness::shared(service), None)
    }

    /// Builds a sink like [`build_with`](Self::build_with), but with a service stack that is not `Clone`.
    ///
    /// An example is a stack with a `RateLimit` that is not wrapped in a [`Buffer`](tower::buffer::Buffer).
    ///
    /// The stack keeps its place in the queue of a limit, and later the permit, until the sink sends a request or is
    /// dropped. If the limit is shared with other users, a sink that has nothing to send or that is not polled can
    /// block these users. To avoid this, wrap the stack in a [`Buffer`](tower::buffer::Buffer) and use
    /// [`build_with`](Self::build_with).
    ///
    /// # Errors
    ///
    /// Returns an error in the same cases as [`build_with`](Self::build_with).
    pub fn build_with_unshared<S>(self, service: S) -> Result<KinesisSink<S>, BuildError>
    where
        S: PutRecordsService,
    {
        self.assemble(Readiness::unshared(service), None)
    }

    /// Adds the service as a fallback source for the stream information that the settings require.
    fn with_sdk_stream_info(mut self, client: &SharedClient) -> Self {
        let aggregates = self.settings.is_aggregating();
        let is_ordered = self.settings.ordering == RecordOrdering::PerKey;
        let is_needed = aggregates || (is_ordered && self.settings.describe_stream);
        if !is_needed {
            return self;
        }
        let mut sdk = client.stream_info().clone();
        if !aggregates {
            sdk = sdk.without_list_shards();
        }
        self.stream_info = Some(match self.stream_info {
            Some(source) => Arc::new((source, sdk)),
            None => Arc::new(sdk),
        });
        self
    }

    /// Assembles the sink. If `check` is `None`, the sink checks the stream with the source of the stream description.
    fn assemble<S>(
        self,
        service: Readiness<S>,
        check: Option<StreamCheck>,
    ) -> Result<KinesisSink<S>, BuildError> {
        let Self { stream, settings, stream_info, classify, dead_letters, budget, .. } = self;
        let stream = stream?;
        settings.validate()?;
        #[cfg(feature = "spool")]
        let spool = settings.spool.as_ref().map(|spool| spool.for_stream(&stream));
        #[cfg(feature = "spool")]
        let drops = spool.as_ref().is_some_and(|spool| spool.full_policy() == WhenFull::DropOldest);
        #[cfg(feature = "spool")]
        if drops && dead_letters.is_none() {
            return Err(BuildError::NoDeadLetters);
        }
        // In the other modes, the sink does not wait for a shard list, because it learns the shards from responses.
        let shards = settings.aggregation == Aggregation::PerShard;
        if shards && stream_info.is_none() {
            return Err(BuildError::NoListShards);
        }
        let check = check
            .unwrap_or_else(|| StreamCheck::with_stream_info(stream_info.clone(), stream.clone()));
        if let Some(reason) = settings.partial_requests() {
            let name = stream.name();
            warn!(target: TARGET, "requests to stream {name} cannot be full: {reason}");
        }
        let lists_shards = stream_info.is_some();
        let discovery =
            stream_info.map(|source| Box::new(Discovery::new(source, settings.describe_stream)));
        #[cfg(feature = "metrics")]
        let label = self.stream_labels.map_or(StreamLabel::Name, |labels| labels.label_of(&stream));
        #[cfg(feature = "spool")]
        let spool_owner = spool::worker::Owner {
            stream: stream.clone(),
            dead_letters: dead_letters.clone(),
            #[cfg(feature = "metrics")]
            metrics: (spool.is_some() && settings.metrics != MetricsGranularity::Off)
                .then(|| SpoolMetrics::new(&stream, &label)),
        };
        #[cfg(feature = "metrics")]
        let shares_label = matches!(label, StreamLabel::Shared(_));
        #[cfg(feature = "metrics")]
        let metrics =
            (settings.metrics != MetricsGranularity::Off).then(|| SinkMetrics::new(&stream, label));
        // Last, because it locks the directory.
        #[cfg(feature = "spool")]
        let spool = match spool {
            Some(spool) => Some(spool::worker::start(spool, spool_owner)?),
            None => None,
        };
        let mut pipeline = Pipeline::new(stream, settings, lists_shards, classify);
        #[cfg(feature = "spool")]
        if spool.is_some() {
            pipeline.ledger_mut().record_departures();
        }
        let description = discovery.as_ref().is_some_and(|discovery| discovery.describes());
        pipeline.topology_mut().require(Prerequisites { description, shards });
        let core = Core {
            pipeline,
            requests: Requests::default(),
            discovery,
            timer: None,
            dead_letters,
            drive_skip: DriveSkip::default(),
            condition: ConditionSender::new(),
            closed: false,
            is_driven: false,
            check: Arc::new(check),
            #[cfg(feature = "spool")]
            spool: spool.map(Arc::new),
            membership: budget.as_ref().map(|budget| Box::new(Membership::new(budget))),
            #[cfg(feature = "metrics")]
            metrics: metrics.map(Box::new),
            #[cfg(feature = "metrics")]
            shares_label,
        };
        Ok(KinesisSink { service, core: Box::new(core) })
    }
}

impl fmt::Debug for SinkBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = Settings {
            linger: self.settings.effective_linger(),
            buffer_records: Some(self.settings.effective_buffer_records()),
            ..Settings::clone(&self.settings)
        };
        f.debug_struct("SinkBuilder")
            .field("stream", &self.stream)
            .field("settings", &settings)
            .field("stream_info", &self.stream_info.is_some())
            .field("dead_letters", &self.dead_letters.is_some())
            .finish_non_exhaustive()
    }
}
